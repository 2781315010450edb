using Dapper;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Sqlite.Fencing;

namespace Scheduler.Tests.Payments;

public class PruneEffectsTests
{
    [Fact]
    public async Task What_guards_effects_is_forgotten_when_it_is_old_enough_and_not_before()
    {
        await using var payments = new PaymentsFixture();
        Assert.Equal((0L, 0L), await payments.Pruner.PruneAsync(CancellationToken.None));
        var source = await payments.Database.SourceAsync(CancellationToken.None);
        foreach (var order in (string[])["old", "new"])
        {
            await SqliteEffect.ApplyAsync(
                source,
                new Effect(
                    new EffectKey("payments", $"paid:{order}", "payment"),
                    LockKey.From($"order:payments:{order}"),
                    new FencingToken(1)
                ),
                static (_, _, _) => ValueTask.CompletedTask,
                CancellationToken.None
            );
        }
        await using (var connection = await payments.Database.OpenAsync(CancellationToken.None))
        {
            await connection.ExecuteAsync(
                """
                UPDATE webhook_effects SET applied_at = datetime('now', iif(dedupe_key = 'paid:old', '-401 days', '-399 days'));
                UPDATE fences SET raised_at =
                  CAST(strftime('%s', 'now', iif(resource = 'order:payments:old', '-8 days', '-6 days')) AS INTEGER) * 1000;
                """
            );
        }

        Assert.Equal((1L, 1L), await payments.Pruner.PruneAsync(CancellationToken.None));

        Assert.Equal(["paid:new"], await payments.QueryAsync<string>("SELECT dedupe_key FROM webhook_effects"));
        Assert.Equal(["order:payments:new"], await payments.QueryAsync<string>("SELECT resource FROM fences"));
        Assert.Equal(2, payments.Log.Events.Count(e => e.Id == 5032));
    }
}
