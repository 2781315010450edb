using System.Data.Common;
using Dapper;
using Payments.Jobs.Storage;
using Scheduler.Sqlite.Fencing;
using Scheduler.Webhooks.Processing;

namespace Payments.Jobs.Webhooks;

/// <summary>Takes a payment in, once.</summary>
internal sealed class PaymentSucceededHandler(PaymentsDatabase database) : IWebhookHandler<PaymentSucceeded>
{
    private const string Insert = """
        INSERT INTO payments (payment_id, merchant_id, order_id, amount_minor, currency, paid_at, paid_day, source_file)
        VALUES (@PaymentId, @MerchantId, @OrderId, @AmountMinor, @Currency, @paidAt, @paidDay, @source)
        ON CONFLICT (payment_id) DO NOTHING
        """;

    // The same payment may have come in a file, too.
    private const string IsSame = """
        SELECT EXISTS (SELECT 1 FROM payments WHERE payment_id = @PaymentId AND merchant_id = @MerchantId AND order_id = @OrderId
          AND amount_minor = @AmountMinor AND currency = @Currency AND paid_at = @paidAt)
        """;

    public async ValueTask<WebhookResult> HandleAsync(PaymentSucceeded payload, WebhookEvent received, CancellationToken cancellationToken)
    {
        if (payload.Problem() is { } problem)
        {
            throw new FormatException(problem);
        }
        await database.GuardAsync(async () =>
            await SqliteEffect.ApplyAsync(
                await database.SourceAsync(cancellationToken),
                received.LastEffectOf("payment"),
                (connection, transaction, _) => InsertAsync(connection, transaction, payload, received.Stored.Source),
                cancellationToken
            )
        );
        return WebhookResult.Done;
    }

    private static async ValueTask InsertAsync(DbConnection connection, DbTransaction transaction, PaymentSucceeded payment, string source)
    {
        var values = new
        {
            payment.PaymentId,
            payment.MerchantId,
            payment.OrderId,
            payment.AmountMinor,
            payment.Currency,
            paidAt = Instants.Text(payment.PaidAt),
            paidDay = Instants.Day(payment.PaidAt),
            source = $"webhook:{source}",
        };
        if (
            await connection.ExecuteAsync(Insert, values, transaction) == 0
            && !await connection.ExecuteScalarAsync<bool>(IsSame, values, transaction)
        )
        {
            throw new InvalidOperationException("The payment's id is known already with other content; compare the two by hand.");
        }
    }
}

/// <summary>Gives a payment back, once: takes it out of what is to be paid out, or notes that the merchant owes it.</summary>
internal sealed class PaymentRefundedHandler(PaymentsDatabase database) : IWebhookHandler<PaymentRefunded>
{
    private const string Note = """
        INSERT INTO refunds (payment_id, order_id, amount_minor, currency, was_paid_out, refunded_at)
        SELECT payment_id, order_id, amount_minor, currency, payout_id IS NOT NULL, @refundedAt FROM payments
        WHERE payment_id = @PaymentId AND order_id = @OrderId
        """;

    // So that the day's report is written anew.
    private const string Outdate = """
        UPDATE reports SET payments = -1
        WHERE day = (SELECT paid_day FROM payments WHERE payment_id = @PaymentId AND payout_id IS NULL)
        """;

    private const string Take = "DELETE FROM payments WHERE payment_id = @PaymentId AND payout_id IS NULL";

    public async ValueTask<WebhookResult> HandleAsync(PaymentRefunded payload, WebhookEvent received, CancellationToken cancellationToken)
    {
        await database.GuardAsync(async () =>
            await SqliteEffect.ApplyAsync(
                await database.SourceAsync(cancellationToken),
                received.LastEffectOf("refund"),
                (connection, transaction, _) => RefundAsync(connection, transaction, payload),
                cancellationToken
            )
        );
        return WebhookResult.Done;
    }

    private static async ValueTask RefundAsync(DbConnection connection, DbTransaction transaction, PaymentRefunded refund)
    {
        var values = new
        {
            refund.PaymentId,
            refund.OrderId,
            refundedAt = Instants.Text(refund.RefundedAt),
        };
        if (await connection.ExecuteAsync(Note, values, transaction) == 0)
        {
            throw new InvalidOperationException("There is no such payment of the order to give back.");
        }
        await connection.ExecuteAsync(Outdate, values, transaction);
        await connection.ExecuteAsync(Take, values, transaction);
    }
}
