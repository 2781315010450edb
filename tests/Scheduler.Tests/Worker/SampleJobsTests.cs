using Microsoft.Extensions.Configuration;
using Scheduler.Testing;
using Scheduler.Tests.Architecture;

namespace Scheduler.Tests.Worker;

/// <summary>The jobs of <c>appsettings.json</c> in the real host: each gets what its constructor asks for.</summary>
public sealed class SampleJobsTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-jobs-");

    public static TheoryData<string> Jobs =>
        [
            .. new ConfigurationBuilder()
                .AddJsonFile(Path.Combine(Repository.Root, "appsettings.json"))
                .Build()
                .GetSection("Scheduler:Jobs")
                .GetChildren()
                .Select(j => j.Key),
        ];

    public void Dispose() => _folder.Delete(recursive: true);

    [Theory]
    [MemberData(nameof(Jobs))]
    public async Task A_job_of_the_sample_runs_and_succeeds(string job)
    {
        await using var app = await WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:JobAssemblies:0", "Payments.Jobs"),
            ($"Scheduler:Jobs:{job}:Every", "00:00:01"),
            ("Payments:Inbox", Path.Combine(_folder.FullName, "inbox")),
            ("Payments:Done", Path.Combine(_folder.FullName, "done")),
            ("Payments:Rejects", Path.Combine(_folder.FullName, "rejects")),
            ("Payments:Reports", Path.Combine(_folder.FullName, "reports"))
        );

        await Eventually.Holds(
            async () => (await app.GetAsync($"/api/runs?job={job}&state=succeeded")).Items.Count > 0,
            what: $"{job} has succeeded"
        );
        Assert.Empty((await app.GetAsync("/api/runs?state=failed")).Items);
    }
}
