using System.Globalization;
using Scheduler.Testing;
using Scheduler.Testing.History;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Harness;

/// <summary>
/// A test's replicas: one folder, one group name, one lock store, one State, and every process that was started, all of which end with it.
/// </summary>
internal sealed class WorkerGroup
{
    private readonly bool _ownsPlace;
    private readonly BodyFile _bodies;
    private readonly List<WorkerProcess> _started = [];
    private readonly Dictionary<string, string> _settings = new(StringComparer.Ordinal);

    private WorkerGroup(string group, Place place, bool ownsPlace)
    {
        (Group, Place, _ownsPlace) = (group, place, ownsPlace);
        _bodies = new BodyFile(Path.Combine(Folder, $"bodies-{group}.jsonl"));
        With("Scheduler__Group", group);
        foreach (var (name, value) in place.Settings)
        {
            With(name, value);
        }
        With("Scheduler__Locks__LeaseDuration", Text(Lease));
        With("Scheduler__Locks__LongestLease", Text(Lease));
        With("Scheduler__Stop__Grace", "00:00:10");
        With("Payments__Database", $"Data Source={Path.Combine(Folder, "payments.db")}");
        foreach (var name in (string[])["Inbox", "Done", "Rejects", "Reports"])
        {
            With($"Payments__{name}", Path.Combine(Folder, name.ToLowerInvariant()));
        }
    }

    /// <summary>The group's lease duration: short, so that a test sees it pass.</summary>
    public static TimeSpan Lease { get; } = TimeSpan.FromSeconds(5);

    /// <summary>The group's name.</summary>
    public string Group { get; }

    /// <summary>Its lock store and State.</summary>
    public Place Place { get; }

    /// <summary>The test's folder.</summary>
    public string Folder => Place.Folder;

    /// <summary>The file that bodies write to.</summary>
    public string BodiesPath => _bodies.Path;

    /// <summary>Everything that bodies have written so far.</summary>
    public IReadOnlyList<BodyRecord> Bodies => _bodies.Records;

    /// <summary>Every worker that was started, also those that have ended.</summary>
    public IReadOnlyList<WorkerProcess> Started => _started;

    /// <summary>The workers that run.</summary>
    public IReadOnlyList<WorkerProcess> Running => [.. _started.Where(w => !w.HasExited)];

    /// <summary>Any worker that runs, to ask.</summary>
    public WorkerProcess Any => _started.First(w => !w.HasExited);

    /// <summary>Makes the place for a group; no worker runs yet.</summary>
    public static async Task<WorkerGroup> CreateAsync(Backends backends, RedisServerOptions? redis, PostgresServer? postgres)
    {
        var place = await Place.CreateAsync(backends, redis, postgres);
        return new WorkerGroup($"e2e-{Path.GetFileName(place.Folder)[^6..]}", place, ownsPlace: true);
    }

    /// <summary>Another group on the same lock store and the same State.</summary>
    public WorkerGroup Beside() => new(Group + "-b", Place, ownsPlace: false);

    /// <summary>The build of all workers that are started from now on; <see langword="null"/> for this one.</summary>
    public string? Build { get; set; }

    /// <summary>Sets one option of all workers that are started from now on.</summary>
    public WorkerGroup With(string name, string value)
    {
        // The shell between the test and the worker passes on no other names.
        Assert.All(name, c => Assert.True(char.IsAsciiLetterOrDigit(c) || c == '_', $"'{name}' is no name of a variable."));
        _settings[name] = value;
        return this;
    }

    /// <summary>Takes a job from all workers that are started from now on.</summary>
    public WorkerGroup WithoutJob(string job)
    {
        foreach (var name in _settings.Keys.Where(n => n.StartsWith($"Scheduler__Jobs__{job}__", StringComparison.Ordinal)).ToList())
        {
            _settings.Remove(name);
        }
        return this;
    }

    /// <summary>Adds a job with one trigger.</summary>
    /// <param name="job">The job's name.</param>
    /// <param name="type">Its class.</param>
    /// <param name="trigger">The trigger's name.</param>
    /// <param name="schedule">A cron expression, or an interval as a time span.</param>
    /// <param name="data">Its job data.</param>
    public WorkerGroup WithJob(string job, string type, string trigger, string schedule, params (string Name, string Value)[] data)
    {
        With($"Scheduler__Jobs__{job}__Type", type);
        // What is expected is computed from the schedule.
        With($"Scheduler__Jobs__{job}__CatchUp", "all");
        var place = $"Scheduler__Jobs__{job}__Triggers__0__";
        With(place + "Name", trigger);
        With(place + (TimeSpan.TryParse(schedule, CultureInfo.InvariantCulture, out _) ? "Every" : "Cron"), schedule);
        foreach (var (name, value) in data)
        {
            With($"{place}Data__{name}", value);
        }
        return this;
    }

    /// <summary>Adds a demo job that says when it begins and ends.</summary>
    public WorkerGroup WithTick(string job, string trigger, string schedule, TimeSpan work, params (string Name, string Value)[] more) =>
        WithJob(
            job,
            "Tick",
            trigger,
            schedule,
            [
                ("file", _bodies.Path),
                ("work", work.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture)),
                ("announce", "true"),
                .. more,
            ]
        );

    /// <summary>Starts one worker without waiting for it.</summary>
    public WorkerProcess Start(string name, TimeSpan clockOffset = default)
    {
        var worker = WorkerProcess.Start(
            new WorkerSetup
            {
                Name = name,
                Folder = Path.Combine(Folder, $"{Group}-{name}"),
                Settings = new Dictionary<string, string>(_settings, StringComparer.Ordinal),
                ClockOffset = clockOffset,
                Build = Build,
            }
        );
        _started.Add(worker);
        return worker;
    }

    /// <summary>Starts workers and waits until all are ready.</summary>
    public async Task<IReadOnlyList<WorkerProcess>> StartAsync(params (string Name, TimeSpan ClockOffset)[] replicas)
    {
        WorkerProcess[] workers = [.. replicas.Select(r => Start(r.Name, r.ClockOffset))];
        await Task.WhenAll(workers.Select(w => w.UntilReadyAsync()));
        return workers;
    }

    /// <summary>Starts three workers <c>a</c>, <c>b</c> and <c>c</c> and waits until all are ready.</summary>
    public Task<IReadOnlyList<WorkerProcess>> StartThreeAsync(TimeSpan apart = default) =>
        StartAsync(("a", -apart), ("b", TimeSpan.Zero), ("c", apart));

    /// <summary>The worker that a replica id belongs to.</summary>
    public WorkerProcess Of(string replicaId) => _started.Last(w => new Fault(w.Name, default, default).Hits(replicaId));

    /// <summary>
    /// Freezes a worker between its writes. A process that stands still in the middle of a write to an embedded file keeps the file to
    /// itself, so that the whole group waits for it: that is the limit of files, and not what a test of leases is about.
    /// </summary>
    public async Task FreezeBetweenWritesAsync(WorkerProcess worker)
    {
        for (var attempt = 1; ; attempt++)
        {
            // Schedules fire on whole seconds; the middle of one is quiet.
            await Eventually.Holds(() => HostClock.Now.Millisecond is > 400 and < 600);
            worker.Freeze();
            if (await Place.IsWritableAsync() || attempt == 10)
            {
                return;
            }
            worker.Thaw();
        }
    }

    /// <summary>Waits until all expected occurrences are final in the ledger.</summary>
    public async Task UntilFinalAsync(IReadOnlyList<ExpectedOccurrences> expected, TimeSpan within)
    {
        var open = 0;
        try
        {
            await Eventually.Holds(
                async () =>
                {
                    var final = (await Any.RunsAsync()).Where(r => r.IsFinal).Select(r => r.Occurrence).ToHashSet();
                    open = expected.Sum(e => e.Due.Count(due => !final.Contains(new(e.Job, e.Trigger, due))));
                    return open == 0;
                },
                within,
                every: TimeSpan.FromMilliseconds(50)
            );
        }
        catch (TimeoutException)
        {
            // What is open or missing is for the checker to name.
        }
    }

    /// <summary>Collects what happened: the ledger first, then a graceful end of all, then what the bodies wrote.</summary>
    public async Task<RunHistory> CollectAsync(IReadOnlyList<ExpectedOccurrences> expected, TimeSpan within)
    {
        await UntilFinalAsync(expected, within);
        var rows = await Any.RunsAsync();
        await StopAllAsync();
        return new RunHistory
        {
            Expected = expected,
            Rows = rows,
            Bodies = Bodies,
            Faults = [.. _started.SelectMany(w => w.Faults)],
            BootedAt = HostClock.BootedAt,
        };
    }

    /// <summary>Judges what happened.</summary>
    public async Task<RunHistory> AssertCleanAsync(IReadOnlyList<ExpectedOccurrences> expected, TimeSpan? within = null)
    {
        var history = await CollectAsync(expected, within ?? TimeSpan.FromSeconds(30));
        var report = HistoryChecker.Check(history);
        TestContext.Current.SendDiagnosticMessage(report.Summary);
        Assert.True(report.IsClean, report.ToString());
        return history;
    }

    /// <summary>Asks all that run to stop and waits for their end.</summary>
    public async Task StopAllAsync() => await Task.WhenAll(Running.Select(w => w.StopAsync()));

    /// <summary>Where the files are and what the workers said last, for somebody who looks into a failure.</summary>
    public string Describe() => $"The files of group {Group} are in {Folder}.\n{string.Join('\n', _started.Select(w => w.Tail()))}";

    /// <summary>Ends every process.</summary>
    public async ValueTask DisposeAsync(bool keepFiles)
    {
        foreach (var worker in _started)
        {
            await worker.DisposeAsync();
        }
        if (!_ownsPlace)
        {
            return;
        }
        await Place.DisposeAsync(keepFiles);
    }

    private static string Text(TimeSpan time) => time.ToString("c", CultureInfo.InvariantCulture);
}
