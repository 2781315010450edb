using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Sqlite;

/// <summary>The fences of an application's SQLite database.</summary>
public sealed class SqliteFenceTests : SqlFenceConformance
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fence-");

    protected override string Kind => "sqlite";

    protected override ValueTask<string> StartAsync() => ValueTask.FromResult(Path.Combine(_folder.FullName, "app.db"));

    protected override ValueTask EndAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }
}
