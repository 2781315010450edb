using System.Text.Json;
using Quartz;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Hosting;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>What became of a request for a run.</summary>
public abstract record RunRequestAnswer
{
    private RunRequestAnswer() { }

    /// <summary>Its row is committed: some replica runs it when its key is free, also when this one dies now.</summary>
    /// <param name="Run">The run; the earlier one when its request key was used before.</param>
    public sealed record Accepted(RunRecord Run) : RunRequestAnswer;

    /// <summary>This replica has no job of that name; nothing was recorded.</summary>
    /// <param name="Known">The names that it has.</param>
    public sealed record UnknownJob(IReadOnlyList<string> Known) : RunRequestAnswer;

    /// <summary>The job cannot run like this; nothing was recorded.</summary>
    /// <param name="Reason">Why, and what helps.</param>
    public sealed record Refused(string Reason) : RunRequestAnswer;

    /// <summary>The job is paused; nothing was recorded.</summary>
    /// <param name="Pause">The pause that lasts.</param>
    public sealed record Paused(JobPause Pause) : RunRequestAnswer;

    /// <summary>As many runs of the job that were asked for are open as may be; nothing was recorded.</summary>
    /// <param name="Reason">How many, and what helps.</param>
    public sealed record TooMany(string Reason) : RunRequestAnswer;

    /// <summary>There is no run with that id.</summary>
    public sealed record UnknownRun : RunRequestAnswer;

    /// <summary>The request key was used for a run with other data; nothing was recorded.</summary>
    /// <param name="Run">That run.</param>
    public sealed record KeyReused(RunRecord Run) : RunRequestAnswer;
}

/// <summary>
/// Asks the group for a run: its row is written first, and any replica that has the job runs it, under the job's key, when that is free.
/// In the container of an application whose group has a State. Thread-safe.
/// </summary>
public sealed class RunRequests
{
    /// <summary>The longest request key, in characters.</summary>
    public const int LongestKey = 200;

    private readonly StateGuard _state;
    private readonly JobCatalog _jobs;
    private readonly ISchedulerFactory _schedulers;
    private readonly PausedJobs _paused;
    private readonly GroupLoops _loops;
    private readonly ClockGuard _clock;

    internal RunRequests(
        StateGuard state,
        JobCatalog jobs,
        ISchedulerFactory schedulers,
        PausedJobs paused,
        GroupLoops loops,
        ClockGuard clock
    ) => (_state, _jobs, _schedulers, _paused, _loops, _clock) = (state, jobs, schedulers, paused, loops, clock);

    /// <summary>Asks for a run.</summary>
    /// <param name="job">The job's name.</param>
    /// <param name="data">Job data over those of the job itself; its lock key is filled from both.</param>
    /// <param name="requestKey">Makes the request repeatable: for the same job, a second one with the same key and data is answered with
    /// the first one's run. 1 to <see cref="LongestKey"/> characters.</param>
    /// <param name="cancellationToken">Ends the call; whether the row was written is unknown then.</param>
    /// <exception cref="StateUnavailableException">State did not answer; whether the row was written is unknown.</exception>
    public async ValueTask<RunRequestAnswer> RequestAsync(
        string job,
        IReadOnlyDictionary<string, string>? data,
        string? requestKey,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(job);
        if (requestKey is { Length: 0 or > LongestKey })
        {
            throw new ArgumentException(
                $"The request key has {requestKey.Length} characters; allowed are 1 to {LongestKey}.",
                nameof(requestKey)
            );
        }
        var scheduler = await _schedulers.GetScheduler(cancellationToken);
        if (
            await _jobs.FindAsync(scheduler, job, cancellationToken) is not { } policy
            || await scheduler.GetJobDetail(policy.Key, cancellationToken) is not { } detail
        )
        {
            return new RunRequestAnswer.UnknownJob(_jobs.Names);
        }
        if (!policy.IsSingleInstance)
        {
            return new RunRequestAnswer.Refused(
                $"Job '{job}' runs on every replica by itself; only a [SingleInstance] job can be asked for."
            );
        }
        var said = TextOf(data);
        // First of all: what was accepted once is answered like that, whatever has become of the job since.
        if (
            requestKey is not null
            && await _state.CallAsync((s, token) => s.Runs.FindRequestAsync(policy.Job, requestKey, said, token), cancellationToken)
                is { } earlier
        )
        {
            return AnswerOf(earlier, policy.Job);
        }
        var merged = new JobDataMap((IDictionary<string, object?>)detail.JobDataMap);
        foreach (var (name, value) in data ?? new Dictionary<string, string>(0))
        {
            if (QuartzNames.IsReserved(name))
            {
                return new RunRequestAnswer.Refused($"The name '{name}' in the job data is reserved; call it something else.");
            }
            merged[name] = value;
        }
        var (key, problem) = policy.KeyFor(merged);
        if (key is not { } lockKey)
        {
            return new RunRequestAnswer.Refused($"Job '{job}': {problem}");
        }
        RunRequest row;
        try
        {
            row = new RunRequest(policy.Job, lockKey, QuartzNames.ToJson(merged), _clock.Now, requestKey, requestKey is null ? null : said);
        }
        catch (JobExecutionException e)
        {
            return new RunRequestAnswer.Refused(e.Message);
        }
        await _paused.RefreshAsync(_state, cancellationToken);
        if (_paused.Find(policy.Job) is { } pause)
        {
            return new RunRequestAnswer.Paused(pause);
        }
        var result = await _state.CallAsync((s, token) => s.Runs.RequestAsync(row, token), cancellationToken);
        if (result is RequestResult.Recorded)
        {
            _loops.Wake();
        }
        return AnswerOf(result, policy.Job);
    }

    /// <summary>
    /// Gives a failed or dead run another go: the same run, with its own scheduled time and data, and with all its attempts and crashes
    /// allowed again. One that waits for its next attempt waits no longer. Asked twice, it is one go.
    /// </summary>
    /// <param name="runId">The run's id.</param>
    /// <param name="cancellationToken">Ends the call; whether the run was opened is unknown then.</param>
    /// <exception cref="StateUnavailableException">State did not answer; whether the run was opened is unknown.</exception>
    public async ValueTask<RunRequestAnswer> ReopenAsync(string runId, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(runId);
        if (await _state.CallAsync((s, token) => s.Runs.ReopenAsync(runId, token), cancellationToken) is not { } run)
        {
            return new RunRequestAnswer.UnknownRun();
        }
        if (run.State != RunState.Waiting)
        {
            return new RunRequestAnswer.Refused(
                run.State.IsOpen()
                    ? $"The run is {Word(run.State)}, and goes on by itself."
                    : $"The run is {Word(run.State)}; only a failed or dead one can be run again. Ask for another run of '{run.Job}'."
            );
        }
        _loops.Wake();
        return new RunRequestAnswer.Accepted(run);
    }

    private static string Word(RunState state) => state.ToString().ToLowerInvariant();

    /// <summary>Why a run is not recorded although nothing is wrong with the request.</summary>
    internal static string TooMany(string job) =>
        $"Job '{job}' has {IRunLedger.MostRequested} runs that were asked for and are not over, and no more are taken. Ask again when some "
        + $"have ended (GET /api/runs?job={job}&trigger={RunRecord.ManualTrigger}), or for one run with the data of many.";

    private static RunRequestAnswer AnswerOf(RequestResult result, string job) =>
        result switch
        {
            RequestResult.Recorded { Run: var run } => new RunRequestAnswer.Accepted(run),
            RequestResult.KeyReused { Run: var run } => new RunRequestAnswer.KeyReused(run),
            _ => new RunRequestAnswer.TooMany(TooMany(job)),
        };

    // Equal for equal data, in whatever order they come.
    private static string TextOf(IReadOnlyDictionary<string, string>? data) =>
        JsonSerializer.Serialize(
            new SortedDictionary<string, string>((data ?? new Dictionary<string, string>(0)).ToDictionary(), StringComparer.Ordinal)
        );
}
