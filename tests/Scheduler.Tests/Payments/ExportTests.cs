using Scheduler.Locking;

namespace Scheduler.Tests.Payments;

public class ExportTests
{
    [Fact]
    public async Task A_report_for_each_day_adds_up_to_the_payments()
    {
        await using var payments = new PaymentsFixture();
        await payments.Sample.EnsureAsync(CancellationToken.None);
        await payments.ImportAsync();

        var days = await ExportAsync(payments);

        Assert.Equal(["2026-01-28", "2026-01-29", "2026-01-30"], days);
        Assert.Equal(days.Select(d => $"sales-{d}.csv"), PaymentsFixture.Names(payments.Options.Reports));
        var rows = days.SelectMany(d => File.ReadLines(payments.Exporter.PathOf(d)).Skip(1)).Select(l => l.Split(',')).ToList();
        Assert.Equal(1248, rows.Sum(r => long.Parse(r[3])));
        Assert.Equal(await payments.NumberAsync("SELECT SUM(amount_minor) FROM payments"), rows.Sum(r => long.Parse(r[4])));
    }

    [Fact]
    public async Task Without_payments_there_is_nothing_to_export()
    {
        await using var payments = new PaymentsFixture();

        Assert.Empty(await ExportAsync(payments));
    }

    [Fact]
    public async Task The_content_follows_from_the_payments_alone()
    {
        await using var first = new PaymentsFixture();
        await using var second = new PaymentsFixture(batchSize: 7);
        first.DropPayments("a.csv", 30);
        second.DropPayments("b.csv", 15, from: 16);
        second.DropPayments("c.csv", 20);
        await first.ImportAsync();
        await second.ImportAsync();
        second.Time.Advance(TimeSpan.FromDays(3));

        await ExportAsync(first);
        await ExportAsync(second);

        var expected = "day,merchant_id,currency,payments,amount_minor\r\n2026-01-28,m0,EUR,5,590\r\n2026-01-28,m0,USD,5,575\r\n";
        var report = await File.ReadAllTextAsync(first.Exporter.PathOf("2026-01-28"));
        Assert.StartsWith(expected, report, StringComparison.Ordinal);
        Assert.Equal(report, await File.ReadAllTextAsync(second.Exporter.PathOf("2026-01-28")));
    }

    [Fact]
    public async Task Only_days_that_changed_or_lost_their_report_are_written_again()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 5, "2026-01-28");
        payments.DropPayments("b.csv", 5, "2026-01-29", from: 6);
        payments.DropPayments("c.csv", 5, "2026-01-30", from: 11);
        await payments.ImportAsync();
        Assert.Equal(3, (await ExportAsync(payments)).Count);
        Assert.Empty(await ExportAsync(payments));

        payments.DropPayments("d.csv", 5, "2026-01-29", from: 16);
        await payments.ImportAsync();
        File.Delete(payments.Exporter.PathOf("2026-01-30"));

        Assert.Equal(["2026-01-29", "2026-01-30"], await ExportAsync(payments));
    }

    [Fact]
    public async Task A_reader_has_the_whole_old_report_while_it_is_replaced()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 5);
        await payments.ImportAsync();
        await ExportAsync(payments);
        var path = payments.Exporter.PathOf("2026-01-28");
        var old = await File.ReadAllTextAsync(path);
        await using var open = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

        payments.DropPayments("b.csv", 5, from: 6);
        await payments.ImportAsync();
        await ExportAsync(payments);

        // Written in place, the open file would show the new content.
        using var reader = new StreamReader(open);
        Assert.Equal(old, await reader.ReadToEndAsync());
        Assert.NotEqual(old, await File.ReadAllTextAsync(path));
        Assert.Equal(["sales-2026-01-28.csv"], PaymentsFixture.Names(payments.Options.Reports));
    }

    [Fact]
    public async Task A_stale_holder_does_not_touch_a_report()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 5);
        await payments.ImportAsync();
        await ExportAsync(payments, token: 8);
        payments.DropPayments("b.csv", 5, from: 6);
        await payments.ImportAsync();
        var before = await File.ReadAllTextAsync(payments.Exporter.PathOf("2026-01-28"));

        await Assert.ThrowsAsync<StaleLeaseException>(async () => await ExportAsync(payments, token: 7));

        Assert.Equal(before, await File.ReadAllTextAsync(payments.Exporter.PathOf("2026-01-28")));
        Assert.Single(await ExportAsync(payments, token: 8));
    }

    private static async Task<IReadOnlyList<string>> ExportAsync(PaymentsFixture payments, long token = 1) =>
        await payments.Exporter.ExportAsync(PaymentsFixture.Key, new FencingToken(token), CancellationToken.None);
}
