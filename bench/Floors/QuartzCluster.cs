using Npgsql;
using Quartz;

namespace Scheduler.Bench.Floors;

/// <summary>
/// Quartz's own cluster: the triggers in PostgreSQL, row locks between the processes. Set up as its documentation shows; the schema is
/// the one that the package brings.
/// </summary>
internal static class QuartzCluster
{
    // The best of the settings that were tried: a thread pool of 50, as many triggers acquired at once, and no reset of a connection
    // when it goes back to the pool, which is a round trip for each use.
    private const int BestSlots = 50;

    public static void UseDefault(IQuartzBuilder quartz, string postgres) => Use(quartz, postgres);

    public static void UseBest(IQuartzBuilder quartz, string postgres)
    {
        Use(quartz, new NpgsqlConnectionStringBuilder(postgres) { NoResetOnClose = true }.ConnectionString);
        quartz.UseDefaultThreadPool(BestSlots);
        quartz.ConfigureScheduler(o => o.MaxBatchSize = BestSlots);
    }

    /// <summary>
    /// Makes the stored triggers due at given times, as if they had just been stored, and forgets the nodes of earlier sets of
    /// processes, so that no set begins with the misfires of the one before.
    /// </summary>
    public static async Task BeginAnewAsync(string postgres, IEnumerable<(string Trigger, DateTimeOffset Due)> next)
    {
        await using var connection = new NpgsqlConnection(postgres);
        await connection.OpenAsync();
        await ExecuteAsync("DELETE FROM qrtz_fired_triggers");
        await ExecuteAsync("DELETE FROM qrtz_scheduler_state");
        foreach (var due in next.GroupBy(n => n.Due, n => n.Trigger))
        {
            await ExecuteAsync(
                "UPDATE qrtz_triggers SET trigger_state = 'WAITING', next_fire_time = $1 WHERE trigger_name = ANY ($2)",
                due.Key.UtcTicks,
                due.ToArray()
            );
        }
        await ExecuteAsync("VACUUM ANALYZE");

        async Task ExecuteAsync(string sql, params object[] values)
        {
            await using var command = new NpgsqlCommand(sql, connection);
            foreach (var value in values)
            {
                command.Parameters.Add(new NpgsqlParameter { Value = value });
            }
            await command.ExecuteNonQueryAsync();
        }
    }

    private static void Use(IQuartzBuilder quartz, string postgres) =>
        quartz.UsePersistentStore(store =>
        {
            store.UsePostgres(NpgsqlFactory.Instance, postgres);
            store.UseSystemTextJsonSerializer();
            store.UseClustering();
            store.ProvisionSchema();
        });
}
