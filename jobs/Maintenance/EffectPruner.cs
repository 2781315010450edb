using Microsoft.Extensions.Logging;
using Payments.Jobs.Storage;
using Payments.Jobs.Telemetry;
using Scheduler.Sqlite.Fencing;

namespace Payments.Jobs.Maintenance;

/// <summary>Forgets effects on the payments after 400 days, and fences of orders that have been idle for 7 days. Thread-safe.</summary>
public sealed class EffectPruner
{
    private static readonly TimeSpan KeepEffects = TimeSpan.FromDays(400);
    private static readonly TimeSpan KeepFences = TimeSpan.FromDays(7);

    private readonly PaymentsDatabase _database;
    private readonly ILogger<EffectPruner> _logger;

    internal EffectPruner(PaymentsDatabase database, ILogger<EffectPruner> logger) => (_database, _logger) = (database, logger);

    /// <summary>Forgets what is old enough.</summary>
    /// <returns>How many effects and how many fences.</returns>
    /// <exception cref="PaymentsStorageException">The database cannot be used.</exception>
    public async ValueTask<(long Effects, long Fences)> PruneAsync(CancellationToken cancellationToken)
    {
        var (effects, fences) = await _database.GuardAsync(async () =>
        {
            var source = await _database.SourceAsync(cancellationToken);
            return (
                await SqliteEffect.PruneAsync(source, KeepEffects, cancellationToken),
                await SqliteFence.PruneAsync(source, KeepFences, cancellationToken)
            );
        });
        Log.EffectsPruned(_logger, effects, fences);
        return (effects, fences);
    }
}
