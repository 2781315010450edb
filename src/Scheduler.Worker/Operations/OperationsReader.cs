using System.Reflection;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Worker.Configuration;

namespace Scheduler.Worker.Operations;

/// <summary>What the HTTP interface shows, read from the scheduler's parts. Thread-safe.</summary>
internal sealed class OperationsReader(
    ReplicaIdentity replica,
    ILockProvider locks,
    ReplicaStatus status,
    IReadOnlyList<JobDefinition> jobs,
    Settings settings,
    IServiceProvider services,
    TimeProvider time
)
{
    /// <summary>A member whose heartbeat is older is not shown.</summary>
    private static readonly TimeSpan MemberAge = TimeSpan.FromSeconds(30);

    /// <summary>The records, or <see langword="null"/> with <c>State:Backend</c> none.</summary>
    public StateGuard? State { get; } = services.GetService<StateGuard>();

    /// <summary>Asks for runs, or <see langword="null"/> with <c>State:Backend</c> none.</summary>
    public RunRequests? Requests { get; } = services.GetService<RunRequests>();

    /// <summary>Pauses and resumes jobs, or <see langword="null"/> with <c>State:Backend</c> none.</summary>
    public PauseRequests? Pauses { get; } = services.GetService<PauseRequests>();

    public async Task<ListView<JobView>> JobsAsync(CancellationToken cancellationToken)
    {
        var views = new List<JobView>(jobs.Count);
        string? away = State is null ? "Scheduler:State:Backend is none" : null;
        foreach (var job in jobs)
        {
            RunRecord? last = null;
            if (away is null)
            {
                try
                {
                    var page = await State!.CallAsync(
                        (s, t) => s.Runs.ListAsync(new RunQuery(job.Identity, Limit: 1), t),
                        cancellationToken
                    );
                    last = page.Items.Count > 0 ? page.Items[0] : null;
                }
                catch (StateUnavailableException e)
                {
                    // The jobs are known without State; one refusal is enough, or the others would use up the time limit.
                    away = e.Message;
                }
            }
            views.Add(View(job, last, away));
        }
        return new ListView<JobView>(views, Next: null);
    }

    public async Task<ListView<LockView>> LocksAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        var page = await locks.ListAsync(prefix, limit, cursor, cancellationToken);
        var views = page.Items.Select(l => new LockView(
            l.Key.Value,
            l.Holder,
            l.Purpose,
            new FencingToken(l.Number).ToString(),
            Seconds(l.Remaining),
            l.Revoked
        ));
        return new ListView<LockView>(views.ToList(), page.Next);
    }

    public async Task<ListView<ReplicaView>> ReplicasAsync(CancellationToken cancellationToken)
    {
        if (State is null)
        {
            var names = jobs.Select(j => j.Name).ToList();
            return new([new(replica.Id, replica.Name, "running", null, null, names, time.GetUtcNow(), 0, IsThis: true)], Next: null);
        }
        var members = await State.CallAsync((s, t) => s.Members.ListAsync(MemberAge, t), cancellationToken);
        var views = members
            .Items.OrderBy(m => m.StartedAt)
            .ThenBy(m => m.Id, StringComparer.Ordinal)
            .Select(m => new ReplicaView(
                m.Id,
                m.Name,
                m.Status,
                m.StartedAt,
                m.OperationsUrl,
                m.Jobs,
                m.WallClock,
                Seconds(m.Age),
                m.Id == replica.Id
            ));
        return new ListView<ReplicaView>(views.ToList(), Next: null);
    }

    private JobView View(JobDefinition job, RunRecord? last, string? away)
    {
        var triggers = job
            .Triggers.Select(t => new TriggerView(
                t.Name,
                t.Cron,
                t.Cron is null ? null : t.TimeZone.Id,
                t.Every,
                Next(t),
                status.SupersededAt(job.Identity, t.Name)
            ))
            .ToList();
        var single = job.Type.GetCustomAttribute<SingleInstanceAttribute>();
        var lease = TimeSpan.TryParse(single?.Lease, System.Globalization.CultureInfo.InvariantCulture, out var own)
            ? own
            : settings.Scheduler.Locks.LeaseDuration;
        return new JobView(
            job.Name,
            job.Identity,
            job.Type.Name,
            single is null ? "everyReplica" : "singleInstance",
            job.LockKeyTemplate,
            single is null ? null : job.Lease ?? lease,
            single is null ? null : job.Level ?? single.Level,
            triggers,
            triggers.Min(t => t.NextFireAt),
            Pauses?.Find(job.Identity)?.Since,
            last is null ? null : new LastRunView(last.Id, last.State, last.ScheduledAt, last.FinishedAt),
            away
        );
    }

    private DateTimeOffset? Next(TriggerDefinition trigger)
    {
        var now = time.GetUtcNow();
        if (trigger.Every is { Ticks: > 0 } every)
        {
            // Intervals stand on a grid from the Unix epoch, the same on all replicas.
            var passed = (now - DateTimeOffset.UnixEpoch).Ticks / every.Ticks;
            return DateTimeOffset.UnixEpoch.AddTicks((passed + 1) * every.Ticks);
        }
        return CronExpression.TryParse(trigger.Cron!, out var cron)
            ? cron!.WithTimeZone(trigger.TimeZone).GetNextValidTimeAfter(now)
            : null;
    }

    private static double Seconds(TimeSpan span) => Math.Round(span.TotalSeconds, 3);
}
