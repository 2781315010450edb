using System.Data.Common;
using Dapper;

namespace Payments.Jobs.Storage;

/// <summary>The database of the payments: creates its tables at first use. Thread-safe.</summary>
internal sealed class PaymentsDatabase(DbDataSource source, Place place) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1, 1);
    private volatile bool _isReady;

    /// <summary>Opens a connection to the database with its tables in place.</summary>
    /// <exception cref="PaymentsStorageException">The file cannot be used.</exception>
    public ValueTask<DbConnection> OpenAsync(CancellationToken cancellationToken) =>
        GuardAsync(async () =>
        {
            await PrepareAsync(cancellationToken);
            return await source.OpenConnectionAsync(cancellationToken);
        });

    /// <summary>The source with the tables in place, for helpers that open connections themselves.</summary>
    /// <exception cref="PaymentsStorageException">The file cannot be used.</exception>
    public ValueTask<DbDataSource> SourceAsync(CancellationToken cancellationToken) =>
        GuardAsync(async () =>
        {
            await PrepareAsync(cancellationToken);
            return source;
        });

    /// <summary>Runs work on the database and explains what the file system or SQLite refuses.</summary>
    public ValueTask<T> GuardAsync<T>(Func<ValueTask<T>> work) => place.GuardAsync(work);

    /// <inheritdoc/>
    public void Dispose()
    {
        _gate.Dispose();
        source.Dispose();
    }

    private async ValueTask PrepareAsync(CancellationToken cancellationToken)
    {
        if (_isReady)
        {
            return;
        }
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (_isReady)
            {
                return;
            }
            if (Path.GetDirectoryName(Path.GetFullPath(place.Path)) is { } folder)
            {
                Directory.CreateDirectory(folder);
            }
            await using var connection = await source.OpenConnectionAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            await connection.ExecuteAsync(new CommandDefinition(Schema(), transaction: transaction, cancellationToken: cancellationToken));
            await transaction.CommitAsync(cancellationToken);
            _isReady = true;
        }
        finally
        {
            _gate.Release();
        }
    }

    private static string Schema()
    {
        using var stream = typeof(PaymentsDatabase).Assembly.GetManifestResourceStream("Payments.Jobs.Storage.schema.sql")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
