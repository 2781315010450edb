using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>Pauses of jobs on SQLite, by the clock of the one host. Thread-safe.</summary>
internal sealed class SqliteJobPauses(StateDatabase database, string group, TimeProvider time) : IJobPauses
{
    private const string Columns = "SELECT job AS Job, since AS Since, until AS Until FROM job_pauses WHERE group_name = @group";

    private const string Begin = """
        INSERT INTO job_pauses (group_name, job, since) SELECT @group, @job, @now
        WHERE NOT EXISTS (SELECT 1 FROM job_pauses WHERE group_name = @group AND job = @job AND until IS NULL)
        ON CONFLICT (group_name, job, since) DO UPDATE SET until = NULL
        """;

    // Never before its begin, whatever became of the clock.
    private const string End = "UPDATE job_pauses SET until = max(since, @now) WHERE group_name = @group AND job = @job AND until IS NULL";

    // A pause that ended is needed until every schedule of the job is settled beyond it.
    private const string Forget = """
        DELETE FROM job_pauses WHERE group_name = @group AND until < @before AND NOT EXISTS (
          SELECT 1 FROM schedules s WHERE s.group_name = @group AND s.job = job_pauses.job AND s.settled_until < job_pauses.until
            AND NOT EXISTS (SELECT 1 FROM schedules n WHERE n.group_name = @group AND n.job = s.job AND n.trigger_name = s.trigger_name
              AND (n.since, n.rowid) > (s.since, s.rowid)))
        """;

    public ValueTask<JobPause> PauseAsync(string job, CancellationToken cancellationToken) =>
        database.WriteAsync(
            connection =>
            {
                connection.Execute(Begin, Values(job));
                return connection.QuerySingle<Row>(Columns + " AND job = @job AND until IS NULL", Values(job)).ToRecord();
            },
            cancellationToken
        );

    public ValueTask<JobPause?> ResumeAsync(string job, CancellationToken cancellationToken) =>
        database.WriteAsync(
            connection =>
                connection.Execute(End, Values(job)) == 0
                    ? null
                    : connection.QueryFirst<Row>(Columns + " AND job = @job ORDER BY since DESC LIMIT 1", Values(job)).ToRecord(),
            cancellationToken
        );

    /// <summary>All that may matter still.</summary>
    public static List<JobPause> List(SqliteConnection connection, string group) =>
        [.. connection.Query<Row>(Columns + " ORDER BY job, since", new { group }).Select(row => row.ToRecord())];

    /// <summary>Deletes what cannot matter any more.</summary>
    public static int Prune(SqliteConnection connection, string group, DateTimeOffset endedBefore) =>
        connection.Execute(Forget, new { group, before = Times.Of(endedBefore) });

    private object Values(string job) =>
        new
        {
            group,
            job,
            now = Times.Of(time.GetUtcNow()),
        };

    private sealed class Row
    {
        public string Job { get; set; } = "";
        public long Since { get; set; }
        public long? Until { get; set; }

        public JobPause ToRecord() => new(Job, Times.From(Since), Times.From(Until));
    }
}
