using Scheduler.Locking;

namespace Scheduler.Tests.Payments;

public class SettlementTests
{
    private const string PaymentsPerPayout = """
        SELECT COUNT(*) FROM payouts o
        WHERE o.payments <> (SELECT COUNT(*) FROM payments p WHERE p.payout_id = o.id)
           OR o.amount_minor <> (SELECT SUM(amount_minor) FROM payments p WHERE p.payout_id = o.id)
           OR EXISTS (SELECT 1 FROM payments p WHERE p.payout_id = o.id AND (p.merchant_id <> o.merchant_id OR p.currency <> o.currency))
        """;

    [Fact]
    public async Task Each_payment_of_the_sample_is_in_one_payout_of_its_merchant_and_currency()
    {
        await using var payments = new PaymentsFixture();
        await payments.Sample.EnsureAsync(CancellationToken.None);
        await payments.ImportAsync();

        var settled = await SettleAsync(payments, token: 5);

        Assert.Equal((11L, 1248L), (settled.Payouts, settled.Payments));
        Assert.Equal(0, await payments.NumberAsync("SELECT COUNT(*) FROM payments WHERE payout_id IS NULL"));
        Assert.Equal(0, await payments.NumberAsync(PaymentsPerPayout));
        Assert.Equal(
            await payments.NumberAsync("SELECT SUM(amount_minor) FROM payments WHERE currency = 'EUR'"),
            settled.TotalsMinor["EUR"]
        );
        Assert.Equal(0, (await SettleAsync(payments, token: 6)).Payouts);
        Assert.Equal(11, await payments.NumberAsync("SELECT COUNT(*) FROM payouts"));
    }

    [Fact]
    public async Task Later_payments_go_to_payouts_of_their_own()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 10);
        await payments.ImportAsync();
        await SettleAsync(payments, token: 1);
        payments.DropPayments("b.csv", 10, from: 6);
        await payments.ImportAsync();

        Assert.Equal(5, (await SettleAsync(payments, token: 1)).Payments);

        Assert.Equal(15, await payments.NumberAsync("SELECT SUM(payments) FROM payouts"));
        Assert.Equal(0, await payments.NumberAsync(PaymentsPerPayout));
    }

    [Fact]
    public async Task More_groups_than_a_transaction_takes_are_all_settled()
    {
        await using var payments = new PaymentsFixture();
        payments.Drop(
            "a.csv",
            PaymentsFixture.Header + string.Concat(Enumerable.Range(0, 250).Select(i => $"p{i},m{i},o{i},7,EUR,2026-01-28T10:00:00Z\n"))
        );
        await payments.ImportAsync();

        Assert.Equal((250L, 250L), ((await SettleAsync(payments, token: 1)) is var s ? (s.Payouts, s.Payments) : default));
        Assert.Equal(0, await payments.NumberAsync(PaymentsPerPayout));
    }

    [Fact]
    public async Task A_stale_holder_is_refused_and_writes_nothing()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 10);
        await payments.ImportAsync();
        await SettleAsync(payments, token: 8);
        payments.DropPayments("b.csv", 10, from: 11);
        await payments.ImportAsync();

        await Assert.ThrowsAsync<StaleLeaseException>(async () => await SettleAsync(payments, token: 7));

        Assert.Equal(10, await payments.NumberAsync("SELECT COUNT(*) FROM payments WHERE payout_id IS NULL"));
        Assert.Equal(0, await payments.NumberAsync("SELECT COUNT(*) FROM payouts WHERE token = 7"));
        Assert.Equal(10, (await SettleAsync(payments, token: 8)).Payments);
    }

    [Fact]
    public async Task The_database_itself_refuses_to_move_a_payment_to_another_payout()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 3);
        await payments.ImportAsync();
        await SettleAsync(payments, token: 1);

        var error = await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() =>
            payments.QueryAsync<long>("UPDATE payments SET payout_id = (SELECT MAX(id) FROM payouts) WHERE payout_id = 1")
        );

        Assert.Contains("in a payout already", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_holders_at_once_settle_each_payment_once()
    {
        await using var payments = new PaymentsFixture();
        await payments.Sample.EnsureAsync(CancellationToken.None);
        await payments.ImportAsync();

        var results = await Task.WhenAll(
            Enumerable
                .Range(1, 8)
                .Select(token =>
                    Task.Run(async () =>
                    {
                        try
                        {
                            return (await SettleAsync(payments, token)).Payments;
                        }
                        catch (StaleLeaseException)
                        {
                            return 0;
                        }
                    })
                )
        );

        Assert.Equal(1248, results.Sum());
        Assert.Equal(1248, await payments.NumberAsync("SELECT SUM(payments) FROM payouts"));
        Assert.Equal(0, await payments.NumberAsync(PaymentsPerPayout));
    }

    private static async Task<global::Payments.Jobs.Settling.SettlementSummary> SettleAsync(PaymentsFixture payments, long token) =>
        await payments.Settler.SettleAsync(PaymentsFixture.Key, new FencingToken(token), "run-1", CancellationToken.None);
}
