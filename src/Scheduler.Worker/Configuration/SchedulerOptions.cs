using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Worker.Configuration;

/// <summary>The value must never be shown: errors name the key only.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SecretAttribute : Attribute;

/// <summary>Section <c>Scheduler</c>: everything that a worker can be told. Times are written as <c>[d.]hh:mm:ss[.fff]</c>.</summary>
internal sealed class SchedulerOptions
{
    /// <summary>The replicas that form one scheduler: 1 to 100 of letters, digits, '.', '_' and '-'. Required with a networked lock
    /// store or State. Default: none.</summary>
    public string? Group { get; set; }

    /// <summary>This process.</summary>
    public ReplicaOptions Replica { get; set; } = new();

    /// <summary>Where leases are kept, and their times.</summary>
    public LocksOptions Locks { get; set; } = new();

    /// <summary>Where the records of runs are kept.</summary>
    public StateOptions State { get; set; } = new();

    /// <summary>The jobs by name. The name is the identity (lock key, trigger, ledger): 1 to 100 of letters, digits, '.', '_' and '-'.
    /// Default: none.</summary>
    public Dictionary<string, JobOptions> Jobs { get; set; } = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>The assemblies in which job classes are looked for, by simple name. Default: <c>Payments.Jobs</c>; at least one.</summary>
    public List<string> JobAssemblies { get; set; } = ["Payments.Jobs"];

    /// <summary>The senders of webhooks.</summary>
    public WebhooksOptions Webhooks { get; set; } = new();

    /// <summary>The address for senders of webhooks.</summary>
    public IngressOptions Ingress { get; set; } = new();

    /// <summary>The operations address.</summary>
    public OperationsOptions Operations { get; set; } = new();

    /// <summary>The way a worker ends.</summary>
    public StopOptions Stop { get; set; } = new();

    /// <summary>How far this host's wall clock may be off before the replica fires nothing. Default 2 s; 100 ms to 1 min.</summary>
    public TimeSpan MaxClockOffset { get; set; } = TimeSpan.FromSeconds(2);
}

/// <summary>Section <c>Scheduler:Webhooks</c>.</summary>
internal sealed class WebhooksOptions
{
    /// <summary>The senders by name, which stands in the address <c>/webhooks/{name}</c>. Needs a State. Default: none, and nothing
    /// listens.</summary>
    public Dictionary<string, WebhookSourceOptions> Sources { get; set; } = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>How many events this replica processes at once. Default 16; 1 to 500.</summary>
    public int Degree { get; set; } = 16;

    /// <summary>How long the bodies of finished events are kept by the job that prunes; an event without its body cannot be replayed.
    /// Default 30 days; 1 h to 36,500 days.</summary>
    public TimeSpan KeepBodies { get; set; } = TimeSpan.FromDays(30);

    /// <summary>How long keys, hashes and outcomes of finished events are kept where signatures cover a time; else for ever. Default 400
    /// days; 400 to 36,500 days, or 0 for ever.</summary>
    public TimeSpan KeepKeys { get; set; } = TimeSpan.FromDays(400);
}

/// <summary>Section <c>Scheduler:Ingress</c>.</summary>
internal sealed class IngressOptions
{
    /// <summary>Where senders reach <c>/webhooks/{source}</c>, separated by ';'. Default <c>http://127.0.0.1:8080</c>; port 0 takes a free
    /// one. Behind a proxy that ends TLS.</summary>
    public string Urls { get; set; } = "http://127.0.0.1:8080";
}

/// <summary>Section <c>Scheduler:Replica</c>.</summary>
internal sealed class ReplicaOptions
{
    /// <summary>What people call the replica: 1 to 100 of letters, digits, '.', '_' and '-'. Default: host name and process id.</summary>
    public string? Name { get; set; }
}

/// <summary>Section <c>Scheduler:Locks</c>; the times are those of <see cref="LeaseOptions"/>, with the same defaults and bounds.</summary>
internal sealed class LocksOptions
{
    private static readonly LeaseOptions Defaults = new();

    /// <summary>The lock store: <c>memory</c>, <c>sqlite</c> (default), <c>redis</c>, <c>redlock</c>, <c>postgres</c> or
    /// <c>postgres-session</c>.</summary>
    public string Backend { get; set; } = "sqlite";

    /// <summary>Where it is; never shown. Default <c>Data Source=data/locks.db</c>; for redis <c>host:port,password=…</c>, for postgres
    /// <c>Host=…;Database=…;Username=…;Password=…</c>.</summary>
    [Secret]
    public string? ConnectionString { get; set; } = "Data Source=data/locks.db";

    /// <summary>The schema of the tables on postgres, not that of the State: 1 to 63 of lower-case letters, digits and '_', not beginning
    /// with a digit or <c>pg_</c>. Default <c>scheduler_locks</c>.</summary>
    public string Schema { get; set; } = PostgresLeaseStore.DefaultSchema;

    /// <summary>A way to the same database past every proxy that pools transactions; never shown. One connection over it hears at once
    /// which keys other replicas released; without it those who wait look four times a second. Default: none; only for
    /// postgres.</summary>
    [Secret]
    public string? ListenConnectionString { get; set; }

    /// <summary>The servers of redlock, each <c>host:port,password=…</c>, an odd number from 3 to 15; never shown. The connection string
    /// is not used then. Default: none; only for redlock.</summary>
    [Secret]
    public List<string> Endpoints { get; set; } = [];

    /// <summary>How long a lease lasts without a renewal. Default 10 s; 1 s to <see cref="LongestLease"/>.</summary>
    public TimeSpan LeaseDuration { get; set; } = Defaults.LeaseDuration;

    /// <summary>The longest lease that any job may ask for; equal on all replicas. Default 30 s; 1 s to 10 min.</summary>
    public TimeSpan LongestLease { get; set; } = Defaults.LongestLease;

    /// <summary>How often a lease is renewed. Default: a third of its duration; 100 ms to 40 % of the shortest lease.</summary>
    public TimeSpan? RenewalInterval { get; set; }

    /// <summary>The time limit of one call to the store. Default 1 s; 10 ms to 10 s.</summary>
    public TimeSpan CallTimeout { get; set; } = Defaults.CallTimeout;

    /// <summary>The pause between two probes of a store that is down. Default 1 s; 10 ms to 1 min.</summary>
    public TimeSpan ProbeInterval { get; set; } = Defaults.ProbeInterval;

    /// <summary>How many grants with unknown outcome are dropped in the background at once. Default 10,000; 1 to 1,000,000.</summary>
    public int MaxPendingDrops { get; set; } = Defaults.MaxPendingDrops;

    /// <summary>How many threads tell of lost leases at once. Default 32; 1 to 1,000.</summary>
    public int MaxNotifierThreads { get; set; } = Defaults.MaxNotifierThreads;

    /// <summary>The times as Core takes them.</summary>
    public LeaseOptions ToLeases() =>
        new()
        {
            LeaseDuration = LeaseDuration,
            LongestLease = LongestLease,
            RenewalInterval = RenewalInterval,
            CallTimeout = CallTimeout,
            ProbeInterval = ProbeInterval,
            MaxPendingDrops = MaxPendingDrops,
            MaxNotifierThreads = MaxNotifierThreads,
        };
}

/// <summary>Section <c>Scheduler:State</c>.</summary>
internal sealed class StateOptions
{
    /// <summary>Where runs are recorded: <c>sqlite</c> (default), <c>postgres</c> or <c>none</c>.</summary>
    public string Backend { get; set; } = "sqlite";

    /// <summary>Where it is; never shown. Default <c>Data Source=data/state.db</c>; for postgres
    /// <c>Host=…;Database=…;Username=…;Password=…</c>.</summary>
    [Secret]
    public string? ConnectionString { get; set; } = "Data Source=data/state.db";

    /// <summary>The schema of the tables on postgres: 1 to 63 of lower-case letters, digits and '_', not beginning with a digit or
    /// <c>pg_</c>. Default <c>scheduler</c>.</summary>
    public string Schema { get; set; } = PostgresState.DefaultSchema;

    /// <summary>A way to the same database past every proxy that pools transactions; never shown. One connection over it hears at once
    /// what other replicas store; without it they are looked at once a second. Default: none; only for postgres.</summary>
    [Secret]
    public string? ListenConnectionString { get; set; }

    /// <summary>How long finished runs are kept by the job that prunes. Default 30 days; 1 min to 36,500 days.</summary>
    public TimeSpan KeepRuns { get; set; } = TimeSpan.FromDays(30);
}

/// <summary>Section <c>Scheduler:Jobs:{name}</c>. What is null here is as the class's attribute says.</summary>
internal sealed class JobOptions
{
    /// <summary>The class, by simple or full name. Default: the job's name.</summary>
    public string? Type { get; set; }

    /// <summary>What the job was called before, the oldest first; its identity stays that one. Default: none.</summary>
    public List<string> FormerNames { get; set; } = [];

    /// <summary>The schedules; instead, one <see cref="Cron"/> or <see cref="Every"/> directly under the job.</summary>
    public List<TriggerOptions> Triggers { get; set; } = [];

    /// <summary>Short for one trigger with the name <c>default</c>.</summary>
    public string? Cron { get; set; }

    /// <summary>Short for one trigger with the name <c>default</c>.</summary>
    public TimeSpan? Every { get; set; }

    /// <summary>Belongs to <see cref="Cron"/> directly under the job.</summary>
    public string? TimeZone { get; set; }

    /// <summary>Belongs to <see cref="Cron"/> or <see cref="Every"/> directly under the job.</summary>
    public Dictionary<string, string> Data { get; set; } = new(StringComparer.Ordinal);

    /// <summary>The duration of the job's leases; 1 s to <see cref="LocksOptions.LongestLease"/>.</summary>
    public TimeSpan? Lease { get; set; }

    /// <summary>What becomes of a run whose replica died: <c>runAgain</c> or <c>leave</c>.</summary>
    public OnCrash? OnCrash { get; set; }

    /// <summary>How many crashes a run survives; 0 to 1,000.</summary>
    public int? MaxCrashes { get; set; }

    /// <summary>How many of the last lines that a body logs are kept with its run; 0 to 200.</summary>
    public int? KeepLog { get; set; }

    /// <summary>How many attempts of a run may fail; 1 to 1,000.</summary>
    public int? MaxAttempts { get; set; }

    /// <summary>The time from a failure to the next attempt; 0 to 7 days.</summary>
    public TimeSpan? RetryDelay { get; set; }

    /// <summary>How that time grows: <c>fixed</c> or <c>exponential</c>.</summary>
    public RetryBackoff? RetryBackoff { get; set; }

    /// <summary>Where it ends to grow; the delay to 7 days.</summary>
    public TimeSpan? RetryMaxDelay { get; set; }

    /// <summary>By which share of itself it is longer or shorter at random; 0 to 1.</summary>
    public double? RetryJitter { get; set; }

    /// <summary>What becomes of occurrences that come due while one of the same trigger runs: <c>skip</c> or <c>runAfter</c>.</summary>
    public OnOverlap? OnOverlap { get; set; }

    /// <summary>Which missed occurrences are made up for: <c>latest</c>, <c>none</c> or <c>all</c>.</summary>
    public CatchUp? CatchUp { get; set; }

    /// <summary>How late they may be made up for; 5 s to 366 days. Default: one period; with <c>all</c> without a bound.</summary>
    public TimeSpan? CatchUpWithin { get; set; }

    /// <summary>How many of a trigger are made up for, the newest ones; 1 to 10,000.</summary>
    public int? CatchUpLimit { get; set; }

    /// <summary>What the job demands of the stores: <c>efficiency</c> or <c>correctness</c>.</summary>
    public Level? Level { get; set; }
}

/// <summary>One schedule: exactly one of <see cref="Cron"/> and <see cref="Every"/>.</summary>
internal sealed class TriggerOptions
{
    /// <summary>Unique within the job: 1 to 100 of letters, digits, '.', '_' and '-'. Required.</summary>
    public string? Name { get; set; }

    /// <summary>A Quartz cron expression with seconds, for example <c>0 0 2 * * ?</c>.</summary>
    public string? Cron { get; set; }

    /// <summary>An interval, aligned to a grid that is the same on all replicas; at least 1 s, whole milliseconds.</summary>
    public TimeSpan? Every { get; set; }

    /// <summary>The time zone of <see cref="Cron"/>, for example <c>Europe/Berlin</c>. Default UTC.</summary>
    public string? TimeZone { get; set; }

    /// <summary>Job data; fills the placeholders of the lock key.</summary>
    public Dictionary<string, string> Data { get; set; } = new(StringComparer.Ordinal);
}

/// <summary>Section <c>Scheduler:Operations</c>.</summary>
internal sealed class OperationsOptions
{
    /// <summary>Where the HTTP interface listens, separated by ';'. Loopback only, because this version has no tokens; port 0 chooses a
    /// free one. Default <c>http://127.0.0.1:9090</c>.</summary>
    public string Urls { get; set; } = "http://127.0.0.1:9090";

    /// <summary>Where <c>/health/live</c> and <c>/health/ready</c> alone, without reasons, listen too, for probes from other hosts; any
    /// IP address, separated by ';'. Default: none.</summary>
    public string? HealthUrls { get; set; }
}

/// <summary>Section <c>Scheduler:Stop</c>.</summary>
internal sealed class StopOptions
{
    /// <summary>How long bodies may go on after a stop began, before their tokens fire. Default 30 s; 0 to 1 h.</summary>
    public TimeSpan Grace { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How long the replica shows itself as not ready before the stop begins. Default 0; 0 to 5 min.</summary>
    public TimeSpan DrainDelay { get; set; } = TimeSpan.Zero;
}

/// <summary>Section <c>Logs</c>: the log files, one JSON object a line.</summary>
internal sealed class LogOptions
{
    /// <summary>The folder; empty: console only. Default <c>data/logs</c>.</summary>
    public string? Folder { get; set; } = "data/logs";

    /// <summary>When a file is closed and the next begins, in bytes. Default 10 MiB; 64 KiB to 1 GiB.</summary>
    public long MaxFileBytes { get; set; } = 10 * 1024 * 1024;

    /// <summary>How many files a replica keeps. Default 5; 1 to 1,000.</summary>
    public int MaxFiles { get; set; } = 5;

    /// <summary>When files that earlier replicas left are deleted. Default 7 days; 1 h to 3,650 days.</summary>
    public TimeSpan KeepFiles { get; set; } = TimeSpan.FromDays(7);

    /// <summary>The least level that is logged: Verbose, Debug, Information, Warning, Error, Fatal. Default Information.</summary>
    public Serilog.Events.LogEventLevel Level { get; set; } = Serilog.Events.LogEventLevel.Information;
}
