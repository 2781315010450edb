using System.Globalization;
using System.Text;
using Payments.Jobs;
using Scheduler.Runs;
using Scheduler.Worker.Operations;

namespace Scheduler.Worker.Hosting;

/// <summary>The table that tells a terminal what ran and where to look. Pure.</summary>
internal static class Summary
{
    /// <summary>Draws it.</summary>
    /// <param name="jobs">The jobs as the operations address shows them.</param>
    /// <param name="runs">The newest runs of the group.</param>
    /// <param name="replicaId">This replica, for the column of its own runs.</param>
    /// <param name="payments">How far the payments are, if there are any.</param>
    /// <param name="places">Where to look: a word and the place.</param>
    public static string Draw(
        IEnumerable<JobView> jobs,
        IReadOnlyList<RunRecord> runs,
        string replicaId,
        PaymentsFigures? payments,
        IEnumerable<(string What, string Where)> places
    )
    {
        var text = new StringBuilder("What has run so far:");
        Line(text, $"  {"job", -20} {"succeeded", 9} {"here", 5}  {"next at", -9} other");
        foreach (var job in jobs)
        {
            var own = runs.Where(r => r.Job == job.Identity).ToList();
            var done = own.Where(r => r.State == RunState.Succeeded).ToList();
            var other = own.Where(r => r.State != RunState.Succeeded).GroupBy(r => r.State).OrderBy(g => g.Key);
            var rest = string.Join(", ", other.Select(g => $"{g.Count()} {Word(g.Key)}"));
            var line =
                $"  {job.Name, -20} {done.Count, 9} {done.Count(r => r.Replica == replicaId), 5}  "
                + $"{job.NextFireAt?.UtcDateTime, -9:HH:mm:ss} {rest}";
            Line(text, line.TrimEnd());
        }
        if (payments is not null)
        {
            Line(
                text,
                $"  payments: {payments.Imported} imported, {payments.Settled} of them settled in {payments.Payouts} payouts, "
                    + $"{payments.Rejected} lines rejected"
            );
        }
        foreach (var (what, where) in places)
        {
            Line(text, $"  {what + ":", -9} {where}");
        }
        return text.ToString();
    }

    private static void Line(StringBuilder text, FormattableString line) => Line(text, line.ToString(CultureInfo.InvariantCulture));

    private static void Line(StringBuilder text, string line) => text.Append('\n').Append(line);

#pragma warning disable CA1308 // The states are shown in lower case, as HTTP shows them.
    private static string Word(RunState state) => state.ToString().ToLowerInvariant();
#pragma warning restore CA1308
}
