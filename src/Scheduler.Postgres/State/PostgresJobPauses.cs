using System.Text.Json;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Pauses of jobs on PostgreSQL, by the server's clock. Thread-safe.</summary>
internal sealed class PostgresJobPauses(StateDatabase database, string group) : IJobPauses
{
    private readonly string _table = $"{database.Place.Quoted}.job_pauses";

    public ValueTask<JobPause> PauseAsync(string job, CancellationToken cancellationToken) =>
        database.CallAsync(
            batch =>
            {
                batch.Add($"SELECT {database.Place.Quoted}.durable()");
                batch
                    .Add(
                        $"""
                        INSERT INTO {_table} (group_name, job, since) VALUES ($1, $2, date_trunc('milliseconds', clock_timestamp()))
                        ON CONFLICT DO NOTHING
                        """
                    )
                    .Text(group)
                    .Text(job);
                batch
                    .Add($"SELECT job, since, until FROM {_table} WHERE group_name = $1 AND job = $2 ORDER BY since DESC LIMIT 1")
                    .Text(group)
                    .Text(job);
            },
            static async reader =>
            {
                await reader.NextResultAsync();
                await reader.ReadAsync();
                return Read(reader);
            },
            cancellationToken
        );

    public ValueTask<JobPause?> ResumeAsync(string job, CancellationToken cancellationToken) =>
        database.CallAsync(
            batch =>
            {
                batch.Add($"SELECT {database.Place.Quoted}.durable()");
                // Never before its begin, whatever became of the clock.
                batch
                    .Add(
                        $"""
                        UPDATE {_table} SET until = greatest(since, date_trunc('milliseconds', clock_timestamp()))
                        WHERE group_name = $1 AND job = $2 AND until IS NULL RETURNING job, since, until
                        """
                    )
                    .Text(group)
                    .Text(job);
            },
            static async reader =>
            {
                await reader.NextResultAsync();
                return await reader.ReadAsync() ? Read(reader) : null;
            },
            cancellationToken
        );

    /// <summary>Reads a JSON array of arrays of job, begin and end.</summary>
    public static IReadOnlyList<JobPause> Read(string json)
    {
        using var document = JsonDocument.Parse(json);
        return
        [
            .. document
                .RootElement.EnumerateArray()
                .Select(p => new JobPause(
                    p[0].GetString()!,
                    p[1].GetDateTimeOffset().ToUniversalTime(),
                    p[2].ValueKind == JsonValueKind.Null ? null : p[2].GetDateTimeOffset().ToUniversalTime()
                )),
        ];
    }

    private static JobPause Read(Npgsql.NpgsqlDataReader reader) =>
        new(reader.GetString(0), Times.From(reader.GetDateTime(1)), reader.IsDBNull(2) ? null : Times.From(reader.GetDateTime(2)));
}
