using System.Data.Common;
using Dapper;
using Payments.Jobs.Storage;

namespace Payments.Jobs.Importing;

/// <summary>A line that reads as a payment.</summary>
/// <param name="Line">The line's number, from 1.</param>
/// <param name="Raw">The line as it stands in the file.</param>
/// <param name="Payment">What it says.</param>
internal sealed record ReadPayment(long Line, string Raw, Payment Payment);

/// <summary>Writes payments and rejected lines, each batch in one transaction. Writing a batch again changes nothing.
/// Thread-safe.</summary>
internal sealed class PaymentWriter(PaymentsDatabase database, TimeProvider time)
{
    private const string InsertPayment = """
        INSERT INTO payments (payment_id, merchant_id, order_id, amount_minor, currency, paid_at, paid_day, source_file)
        VALUES (@Id, @MerchantId, @OrderId, @AmountMinor, @Currency, @PaidAt, @PaidDay, @File)
        ON CONFLICT (payment_id) DO NOTHING
        """;

    private const string CountSame = """
        SELECT COUNT(*) FROM payments
        WHERE payment_id = @Id AND merchant_id = @MerchantId AND order_id = @OrderId AND amount_minor = @AmountMinor
          AND currency = @Currency AND paid_at = @PaidAt
        """;

    private const string InsertReject = """
        INSERT INTO quarantine (file, line, raw, reason, found_at) VALUES (@File, @Line, @Raw, @Reason, @FoundAt)
        ON CONFLICT (file, line, raw) DO NOTHING
        """;

    private const string InsertImport = """
        INSERT INTO imports (file, moved_to, imported, already_known, rejected, finished_at)
        VALUES (@File, @MovedTo, @Imported, @AlreadyKnown, @Rejected, @FinishedAt)
        """;

    /// <summary>Writes a batch.</summary>
    /// <returns>How many payments are new, and the rejects with those added whose id is known with other content.</returns>
    public ValueTask<(int Imported, int AlreadyKnown, IReadOnlyList<Reject> Rejects)> WriteAsync(
        string file,
        IReadOnlyList<ReadPayment> payments,
        IReadOnlyList<Reject> malformed,
        CancellationToken cancellationToken
    ) =>
        database.GuardAsync<(int, int, IReadOnlyList<Reject>)>(async () =>
        {
            var rejects = new List<Reject>(malformed);
            var imported = 0;
            await using var connection = await database.OpenAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            foreach (var read in payments)
            {
                if (await InsertAsync(connection, transaction, file, read.Payment, cancellationToken))
                {
                    imported++;
                }
                else if (!await IsSameAsync(connection, transaction, read.Payment, cancellationToken))
                {
                    rejects.Add(
                        new Reject(file, read.Line, $"payment_id '{read.Payment.Id}' is known already with other content", read.Raw)
                    );
                }
            }
            rejects.Sort((left, right) => left.Line.CompareTo(right.Line));
            var foundAt = Instants.Text(time.GetUtcNow());
            foreach (var reject in rejects)
            {
                var row = new
                {
                    reject.File,
                    reject.Line,
                    reject.Raw,
                    reject.Reason,
                    FoundAt = foundAt,
                };
                await connection.ExecuteAsync(new CommandDefinition(InsertReject, row, transaction, cancellationToken: cancellationToken));
            }
            await transaction.CommitAsync(cancellationToken);
            return (imported, payments.Count - imported - (rejects.Count - malformed.Count), rejects);
        });

    /// <summary>Notes that a file is through.</summary>
    public ValueTask<int> NoteImportAsync(ImportSummary summary, CancellationToken cancellationToken) =>
        database.GuardAsync(async () =>
        {
            await using var connection = await database.OpenAsync(cancellationToken);
            var row = new
            {
                summary.File,
                summary.MovedTo,
                summary.Imported,
                summary.AlreadyKnown,
                summary.Rejected,
                FinishedAt = Instants.Text(time.GetUtcNow()),
            };
            return await connection.ExecuteAsync(new CommandDefinition(InsertImport, row, cancellationToken: cancellationToken));
        });

    private static async ValueTask<bool> InsertAsync(
        DbConnection connection,
        DbTransaction transaction,
        string file,
        Payment payment,
        CancellationToken cancellationToken
    )
    {
        var row = new
        {
            payment.Id,
            payment.MerchantId,
            payment.OrderId,
            payment.AmountMinor,
            payment.Currency,
            PaidAt = Instants.Text(payment.PaidAt),
            PaidDay = Instants.Day(payment.PaidAt),
            File = file,
        };
        return await connection.ExecuteAsync(new CommandDefinition(InsertPayment, row, transaction, cancellationToken: cancellationToken))
            == 1;
    }

    private static async ValueTask<bool> IsSameAsync(
        DbConnection connection,
        DbTransaction transaction,
        Payment payment,
        CancellationToken cancellationToken
    )
    {
        var key = new
        {
            payment.Id,
            payment.MerchantId,
            payment.OrderId,
            payment.AmountMinor,
            payment.Currency,
            PaidAt = Instants.Text(payment.PaidAt),
        };
        return await connection.ExecuteScalarAsync<long>(
                new CommandDefinition(CountSame, key, transaction, cancellationToken: cancellationToken)
            ) == 1;
    }
}
