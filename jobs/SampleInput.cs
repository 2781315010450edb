using Dapper;
using Microsoft.Extensions.Logging;
using Payments.Jobs.Storage;
using Payments.Jobs.Telemetry;

namespace Payments.Jobs;

/// <summary>Puts the sample file into an inbox that never had one, so that a first start has something to work on. Thread-safe.</summary>
public sealed class SampleInput
{
    /// <summary>The name of the sample in the inbox.</summary>
    public const string FileName = "payments-sample.csv";

    private const string TakeMarker = "INSERT INTO notes (name, value) VALUES ('sample-input', @Now) ON CONFLICT (name) DO NOTHING";
    private const string HasImported = "SELECT EXISTS (SELECT 1 FROM imports) OR EXISTS (SELECT 1 FROM payments)";

    private readonly PaymentsDatabase _database;
    private readonly PaymentsOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger<SampleInput> _logger;

    internal SampleInput(PaymentsDatabase database, PaymentsOptions options, TimeProvider time, ILogger<SampleInput> logger)
    {
        _database = database;
        _options = options;
        _time = time;
        _logger = logger;
    }

    /// <summary>Where the build puts the sample file.</summary>
    public static string SourcePath => Path.Combine(AppContext.BaseDirectory, "samples", FileName);

    /// <summary>
    /// Copies the sample once in the life of the database: not when it was copied before, and not when there are payments or files
    /// already. Replicas that start together copy it once.
    /// </summary>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>Whether it was copied now.</returns>
    /// <exception cref="PaymentsStorageException">The sample, the inbox or the database cannot be used.</exception>
    public ValueTask<bool> EnsureAsync(CancellationToken cancellationToken) =>
        _database.GuardAsync(async () =>
        {
            var inbox = new Place("inbox folder", _options.Inbox, "Payments:Inbox");
            inbox.EnsureFolder();
            await using var connection = await _database.OpenAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            var now = new { Now = Instants.Text(_time.GetUtcNow()) };
            var isFirst =
                await connection.ExecuteAsync(new CommandDefinition(TakeMarker, now, transaction, cancellationToken: cancellationToken))
                    == 1
                && !await connection.ExecuteScalarAsync<bool>(
                    new CommandDefinition(HasImported, transaction: transaction, cancellationToken: cancellationToken)
                )
                && !inbox.Guard(() => Directory.EnumerateFiles(_options.Inbox, "*.csv").Any());
            if (isFirst)
            {
                // Copied before the marker is committed: a crash in between copies again, which the import finds harmless.
                Copy(inbox);
            }
            await transaction.CommitAsync(cancellationToken);
            return isFirst;
        });

    private void Copy(Place inbox)
    {
        var target = Path.Combine(_options.Inbox, FileName);
        inbox.Guard(() =>
        {
            File.Copy(SourcePath, target + ".tmp", overwrite: true);
            File.Move(target + ".tmp", target, overwrite: true);
            return true;
        });
        Log.SampleCopied(_logger, target);
    }
}
