using System.Globalization;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Jobs;

/// <summary>Everything that can be wrong with a job, each with place, value and what is allowed.</summary>
public sealed class JobDefinitionValidatorTests
{
    private static readonly LeaseOptions Leases = new() { RenewalInterval = TimeSpan.FromSeconds(2) };

    [Fact]
    public void AGoodJobHasNoProblem() =>
        Assert.Empty(Problems(Job<PlainJob>() with { Triggers = [Cron("t", "0 0 2 * * ?"), Every("u", TimeSpan.FromSeconds(5))] }));

    [Fact]
    public void NamesHaveTheirLength()
    {
        Assert.Contains("this one has 0", One(Job<PlainJob>() with { Name = "" }));
        Assert.Contains("this one has 201", One(Job<PlainJob>() with { Name = new string('x', 201) }));
        Assert.Empty(Problems(Job<PlainJob>() with { Name = new string('x', 200) }));
    }

    [Fact]
    public void AClassThatIsNoJobIsNamed() =>
        Assert.Contains("String is no job", Problems(new JobDefinition("j", typeof(string), [])).First());

    [Fact]
    public void BothAttributesAreOneTooMany() => Assert.Contains("both [SingleInstance] and [EveryReplica]", One(Job<UndecidedJob>()));

    [Fact]
    public void NoAttributeIsRefused() => Assert.Contains("neither [SingleInstance] nor [EveryReplica]", One(Job<UnmarkedJob>()));

    [Fact]
    public void QuartzAttributesOfOneReplicaAreRefused()
    {
        Assert.Contains("[RetryPolicy]", One(Job<RetriedByQuartzJob>()));
        Assert.Contains("[PersistJobDataAfterExecution]", One(Job<PersistingJob>()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("manual")]
    public void ATriggerHasANameOfItsOwn(string name) =>
        Assert.Contains($"'{name}' is no trigger name", One(Job<PlainJob>() with { Triggers = [Cron(name, "0 0 2 * * ?")] }));

    [Fact]
    public void TwoTriggersOfOneNameAreRefused() =>
        Assert.Contains(
            "two triggers are called 't'",
            One(Job<PlainJob>() with { Triggers = [Cron("t", "0 0 2 * * ?"), Cron("t", "0 0 3 * * ?")] })
        );

    [Fact]
    public void ATriggerHasExactlyOneOfCronAndEvery()
    {
        Assert.Contains(
            "exactly one",
            One(Job<PlainJob>() with { Triggers = [Cron("t", "0 0 2 * * ?") with { Every = TimeSpan.FromSeconds(5) }] })
        );
        Assert.Contains("exactly one", One(Job<PlainJob>() with { Triggers = [Cron("t", "x") with { Cron = null }] }));
    }

    [Theory]
    [InlineData("every night")]
    [InlineData("0 0 2 30 2 ? 2020")]
    public void ACronThatDoesNotParseOrNeverComesIsShown(string cron)
    {
        var problem = One(Job<PlainJob>() with { Triggers = [Cron("t", cron)] });

        Assert.StartsWith($"Scheduler:Jobs:job:Triggers:t:Cron is '{cron}'", problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.5)]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(1.0000001)]
    [InlineData(604_801)]
    public void AnIntervalOutsideItsBoundsIsShown(double seconds) =>
        Assert.Contains(":Every is ", One(Job<PlainJob>() with { Triggers = [Every("t", TimeSpan.FromSeconds(seconds))] }));

    [Fact]
    public void AMissingPlaceholderNamesTheTrigger() =>
        Assert.Contains(
            "Scheduler:Jobs:job:Triggers:t:Data: The key 'settle:{who}' needs 'who'",
            One(Job<KeyedJob>() with { Triggers = [Cron("t", "0 0 2 * * ?")] })
        );

    [Fact]
    public void AKeyThatGetsTooLongIsShown()
    {
        var data = new Dictionary<string, string>(StringComparer.Ordinal) { ["who"] = new string('x', 600) };
        Assert.Contains("512", One(Job<KeyedJob>() with { Triggers = [Cron("t", "0 0 2 * * ?") with { Data = data }] }));
    }

    [Fact]
    public void AWrongAttributeShowsAllItsProblemsAtOnce()
    {
        var problems = Problems(Job<WrongJob>()).ToList();

        Assert.Contains(problems, p => p.Contains("the key of WrongJob", StringComparison.Ordinal));
        Assert.Contains(problems, p => p.Contains("is 'soon', which is no time span", StringComparison.Ordinal));
        Assert.Contains(problems, p => p.Contains("MaxCrashes is 5000; allowed is 0 to 1000", StringComparison.Ordinal));
        Assert.Contains(problems, p => p.Contains("is 'a while', which is no time span", StringComparison.Ordinal));
        Assert.Contains(problems, p => p.Contains("[SingleInstance(RetryDelay)] of WrongJob is 'later'", StringComparison.Ordinal));
        Assert.Contains(problems, p => p.Contains("CatchUpLimit is 20000; allowed is 1 to 10000", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("00:00:04.999")]
    [InlineData("366.00:00:01")]
    public void ACatchUpBoundOutsideItsBoundsIsShown(string within) =>
        Assert.Contains(
            $"CatchUpWithin is {TimeSpan.Parse(within, CultureInfo.InvariantCulture):c}; allowed is 00:00:05 to 366.00:00:00",
            One(Job<PlainJob>() with { CatchUpWithin = TimeSpan.Parse(within, CultureInfo.InvariantCulture) })
        );

    [Theory]
    [InlineData(0)]
    [InlineData(10_001)]
    public void ACatchUpLimitOutsideItsBoundsIsShown(int limit) =>
        Assert.Contains($"CatchUpLimit is {limit}; allowed is 1 to 10000", One(Job<PlainJob>() with { CatchUpLimit = limit }));

    [Theory]
    [InlineData(-1)]
    [InlineData(201)]
    public void MoreLinesOfALogThanAreKeptAreShown(int lines) =>
        Assert.Contains($"KeepLog is {lines}; allowed is 0 to 200", One(Job<PlainJob>() with { KeepLog = lines }));

    [Theory]
    [InlineData(0, "00:00:01", "01:00:00", 0.2, "MaxAttempts is 0; allowed is 1 to 1000")]
    [InlineData(1_001, "00:00:01", "01:00:00", 0.2, "MaxAttempts is 1001; allowed is 1 to 1000")]
    [InlineData(3, "-00:00:01", "01:00:00", 0.2, "RetryDelay is -00:00:01; allowed is 00:00:00 to 7.00:00:00")]
    [InlineData(3, "00:00:01", "8.00:00:00", 0.2, "RetryMaxDelay is 8.00:00:00; allowed is 00:00:00 to 7.00:00:00")]
    [InlineData(3, "02:00:00", "01:00:00", 0.2, "RetryMaxDelay is 01:00:00, less than RetryDelay, 02:00:00")]
    [InlineData(3, "00:00:01", "01:00:00", 1.5, "RetryJitter is 1.5; allowed is 0 to 1")]
    [InlineData(3, "00:00:01", "01:00:00", double.NaN, "RetryJitter is NaN; allowed is 0 to 1")]
    public void ARetryOutsideItsBoundsIsShown(int attempts, string delay, string longest, double jitter, string problem) =>
        Assert.Contains(
            problem,
            One(
                Job<PlainJob>() with
                {
                    MaxAttempts = attempts,
                    RetryDelay = TimeSpan.Parse(delay, CultureInfo.InvariantCulture),
                    RetryBackoff = RetryBackoff.Exponential,
                    RetryMaxDelay = TimeSpan.Parse(longest, CultureInfo.InvariantCulture),
                    RetryJitter = jitter,
                }
            )
        );

    [Fact]
    public void ALeaseOutsideItsBoundsNamesBothValues()
    {
        Assert.Contains("longer than LongestLease = 00:00:30", One(Job<PlainJob>() with { Lease = TimeSpan.FromMinutes(5) }));
        var shortest = Problems(Job<PlainJob>() with { Lease = TimeSpan.FromMilliseconds(900) }).ToList();
        Assert.Contains(shortest, p => p.Contains("at least 00:00:01", StringComparison.Ordinal));
        Assert.Contains("RenewalInterval = 00:00:02", One(Job<PlainJob>() with { Lease = TimeSpan.FromSeconds(4) }));
    }

    private static JobDefinition Job<T>() => new("job", typeof(T), []);

    private static TriggerDefinition Cron(string name, string cron) =>
        new(name, cron, null, TimeZoneInfo.Utc, new Dictionary<string, string>());

    private static TriggerDefinition Every(string name, TimeSpan every) =>
        new(name, null, every, TimeZoneInfo.Utc, new Dictionary<string, string>());

    private static IEnumerable<string> Problems(JobDefinition job) => JobDefinitionValidator.Validate(job, Leases, "Scheduler:Jobs");

    private static string One(JobDefinition job) => Assert.Single(Problems(job));
}
