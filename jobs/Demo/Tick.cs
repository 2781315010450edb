using System.Text.Json;
using System.Text.Json.Serialization;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Time;

namespace Payments.Jobs.Demo;

/// <summary>
/// A job for trying out schedules, stops and crashes: works for a while and appends one line of JSON to a file when it ends. Job data:
/// <list type="table">
/// <item><term><c>file</c></term><description>The file, required; its folder is created.</description></item>
/// <item><term><c>work</c></term><description>How long it works, in milliseconds, 0 to 86,400,000; default 0.</description></item>
/// <item><term><c>ignoreCancellation</c></term><description><c>true</c>: works on after its token fired; default
/// <c>false</c>.</description></item>
/// <item><term><c>announce</c></term><description><c>true</c>: also appends a line when it begins, and one when its token fires; default
/// <c>false</c>.</description></item>
/// <item><term><c>entries</c></term><description>An SQLite file that exists or can be made: when the work is done, its result goes into
/// table <c>entries</c> there, fenced by the run's token.</description></item>
/// </list>
/// </summary>
/// <remarks>
/// A line: <c>{"occurrence":"tick/second@2026-01-31T10:15:00.000Z","attempt":1,"token":"1769854500000000","replica":"a-1f00c2d4",
/// "run":"…","begin":8123456789,"end":8123457801,"outcome":"done"}</c>. <c>begin</c> and <c>end</c> are microseconds of the host's boot
/// clock, so that lines of all processes on a host can be compared. <c>outcome</c> is <c>done</c>, <c>cancelled</c> (the token ended it) or
/// <c>refused</c> (the fence did not take its entry); of the announced lines <c>begun</c> (<c>end</c> is null) or <c>told</c>
/// (<c>end</c> is
/// when the token fired). Each line is one appending write, so several processes may share a file. A body that ends by its token or is
/// refused throws, as a job should; the line is written first.
/// </remarks>
[SingleInstance]
public sealed class Tick(TimeProvider time) : IJob
{
    /// <inheritdoc/>
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        var input = TickInput.Read(context.JobDetail.Key.Name, name => context.MergedJobDataMap.TryGetValue(name, out var v) ? v : null);
        return RunAsync(context.GetRun(), input, cancellationToken);
    }

    internal async ValueTask RunAsync(IRun run, TickInput input, CancellationToken cancellationToken)
    {
        var begin = BootMicroseconds();
        using var told = input.Announce ? Announce(run, input, begin, cancellationToken) : default;
        try
        {
            var token = input.IgnoreCancellation ? CancellationToken.None : cancellationToken;
            if (input.Work > TimeSpan.Zero)
            {
                await Task.Delay(input.Work, time, token);
            }
            if (input.Entries is not null)
            {
                await TickEntries.WriteAsync(input.Entries, run, token);
            }
        }
        catch (OperationCanceledException)
        {
            Append(run, input, begin, BootMicroseconds(), "cancelled");
            throw;
        }
        catch (StaleLeaseException)
        {
            Append(run, input, begin, BootMicroseconds(), "refused");
            throw;
        }
        Append(run, input, begin, BootMicroseconds(), "done");
    }

    private static CancellationTokenRegistration Announce(IRun run, TickInput input, long begin, CancellationToken cancellationToken)
    {
        Append(run, input, begin, end: null, "begun");
        return cancellationToken.Register(() => Append(run, input, begin, BootMicroseconds(), "told"));
    }

    // Not the injected clock: the lines are compared between processes, whatever clocks those are given.
    private static long BootMicroseconds() =>
        (long)BootTimeProvider.Instance.GetElapsedTime(0, BootTimeProvider.Instance.GetTimestamp()).TotalMicroseconds;

    private static void Append(IRun run, TickInput input, long begin, long? end, string outcome)
    {
        var line = new TickLine(run.Occurrence.ToString(), run.Attempt, run.Token.ToString(), run.Replica, run.Id, begin, end, outcome);
        AppendOnlyFile.WriteLine(input.File, JsonSerializer.SerializeToUtf8Bytes(line, TickJson.Default.TickLine));
    }
}

/// <summary>One line of the file.</summary>
internal sealed record TickLine(
    string Occurrence,
    int Attempt,
    string Token,
    string Replica,
    string Run,
    long Begin,
    long? End,
    string Outcome
);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(TickLine))]
internal sealed partial class TickJson : JsonSerializerContext;
