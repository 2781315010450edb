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
                received.EffectOf("payment"),
                received.LockKey,
                received.Token,
                async (connection, transaction, _) =>
                    await connection.ExecuteAsync(
                        Insert,
                        new
                        {
                            payload.PaymentId,
                            payload.MerchantId,
                            payload.OrderId,
                            payload.AmountMinor,
                            payload.Currency,
                            paidAt = Instants.Text(payload.PaidAt),
                            paidDay = Instants.Day(payload.PaidAt),
                            source = $"webhook:{received.Stored.Source}",
                        },
                        transaction
                    ),
                cancellationToken
            )
        );
        return WebhookResult.Done;
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

    private const string Take = "DELETE FROM payments WHERE payment_id = @PaymentId AND payout_id IS NULL";

    public async ValueTask<WebhookResult> HandleAsync(PaymentRefunded payload, WebhookEvent received, CancellationToken cancellationToken)
    {
        await database.GuardAsync(async () =>
            await SqliteEffect.ApplyAsync(
                await database.SourceAsync(cancellationToken),
                received.EffectOf("refund"),
                received.LockKey,
                received.Token,
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
            throw new InvalidOperationException($"There is no payment '{refund.PaymentId}' of order '{refund.OrderId}' to give back.");
        }
        await connection.ExecuteAsync(Take, values, transaction);
    }
}
