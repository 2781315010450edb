using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Payments.Jobs;
using Payments.Jobs.Maintenance;

namespace Scheduler.Tests.Payments;

public class OptionsTests
{
    [Fact]
    public void The_defaults_are_valid()
    {
        Assert.Empty(PaymentsOptionsValidator.Validate(new PaymentsOptions()));
        Assert.Empty(PaymentsOptionsValidator.Validate(new PruneOptions()));
    }

    [Fact]
    public void All_errors_come_together_with_key_and_value_and_without_the_connection_string()
    {
        var options = new PaymentsOptions
        {
            Database = "hunter2",
            Inbox = " ",
            Done = "data/x",
            Rejects = "data/../data/x/",
            InboxQuiet = TimeSpan.FromDays(1),
            BatchSize = 0,
        };

        var error = Assert.Throws<OptionsValidationException>(() => new ServiceCollection().AddPayments(options));

        Assert.Equal(5, error.Failures.Count());
        Assert.DoesNotContain("hunter2", error.Message, StringComparison.Ordinal);
        foreach (
            var part in new[]
            {
                "Payments:Database",
                "Payments:Inbox is ' '",
                "Payments:Done and Payments:Rejects",
                "'data/x'",
                "Payments:InboxQuiet is 1.00:00:00",
                "Payments:BatchSize is 0",
            }
        )
        {
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_jobs_are_made_by_the_container()
    {
        using var provider = new ServiceCollection().AddPayments(new PaymentsOptions()).BuildServiceProvider();

        foreach (var job in new[] { typeof(global::Payments.Jobs.Importing.ImportPayments), typeof(global::Payments.Jobs.Demo.Tick) })
        {
            Assert.NotNull(ActivatorUtilities.CreateInstance(provider, job));
        }
        Assert.NotNull(ActivatorUtilities.CreateInstance<global::Payments.Jobs.Settling.SettlePayouts>(provider));
        Assert.NotNull(ActivatorUtilities.CreateInstance<global::Payments.Jobs.Reporting.ExportDailySales>(provider));
        Assert.NotNull(ActivatorUtilities.CreateInstance<global::Payments.Jobs.Maintenance.PruneEffects>(provider));
    }
}
