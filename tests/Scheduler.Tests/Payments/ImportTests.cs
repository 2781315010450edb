using Payments.Jobs;
using Payments.Jobs.Storage;

namespace Scheduler.Tests.Payments;

public class ImportTests
{
    private const int BatchImported = 5002;

    [Fact]
    public async Task The_sample_is_imported_with_its_bad_lines_in_quarantine()
    {
        await using var payments = new PaymentsFixture();
        Assert.True(await payments.Sample.EnsureAsync(CancellationToken.None));

        var summary = Assert.Single(await payments.ImportAsync());

        Assert.Equal((1248L, 2L, 16L), (summary.Imported, summary.AlreadyKnown, summary.Rejected));
        Assert.Equal(1248, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));
        Assert.Equal(16, await payments.NumberAsync("SELECT COUNT(*) FROM quarantine"));
        Assert.Equal(3, await payments.NumberAsync("SELECT COUNT(DISTINCT paid_day) FROM payments"));
        Assert.Empty(PaymentsFixture.Names(payments.Options.Inbox));
        Assert.Equal([SampleInput.FileName], PaymentsFixture.Names(payments.Options.Done));
        var list = Assert.Single(PaymentsFixture.Names(payments.Options.Rejects));
        Assert.Equal(17, File.ReadLines(Path.Combine(payments.Options.Rejects, list)).Count());
        Assert.Single(payments.Log.Events, e => e.Id == 5000);
        // Every rejected line of the file is found where the quarantine says it is.
        var lines = File.ReadAllLines(SampleInput.SourcePath);
        foreach (var (line, raw) in await payments.QueryAsync<(long, string)>("SELECT line, raw FROM quarantine"))
        {
            Assert.Equal(lines[line - 1], raw);
        }
    }

    [Fact]
    public async Task The_sample_comes_once_in_the_life_of_the_database()
    {
        await using var payments = new PaymentsFixture();

        Assert.True(await payments.Sample.EnsureAsync(CancellationToken.None));
        Assert.False(await payments.Sample.EnsureAsync(CancellationToken.None));
        await payments.ImportAsync();
        Assert.False(await payments.Sample.EnsureAsync(CancellationToken.None));

        Assert.Empty(PaymentsFixture.Names(payments.Options.Inbox));
    }

    [Fact]
    public async Task The_sample_is_not_mixed_into_an_inbox_that_is_in_use()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("own.csv", 1);

        Assert.False(await payments.Sample.EnsureAsync(CancellationToken.None));

        Assert.Equal(["own.csv"], PaymentsFixture.Names(payments.Options.Inbox));
    }

    [Fact]
    public async Task A_file_that_comes_twice_changes_nothing_and_both_copies_are_kept()
    {
        await using var payments = new PaymentsFixture();
        const string Bad = "p9,m1,o1,1.5,EUR,2026-01-28T10:00:00Z\n";
        payments.Drop("a.csv", PaymentsFixture.Header + "p1,m1,o1,100,EUR,2026-01-28T10:00:00Z\n" + Bad);
        await payments.ImportAsync();
        payments.Drop("a.csv", PaymentsFixture.Header + "p1,m1,o1,100,EUR,2026-01-28T11:00:00+01:00\n" + Bad);

        var again = Assert.Single(await payments.ImportAsync());

        Assert.Equal((0L, 1L, 1L), (again.Imported, again.AlreadyKnown, again.Rejected));
        Assert.Equal(1, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));
        Assert.Equal(1, await payments.NumberAsync("SELECT COUNT(*) FROM quarantine"));
        Assert.Equal(["a.2.csv", "a.csv"], PaymentsFixture.Names(payments.Options.Done));
        Assert.Equal(["a.2.csv.rejects.csv", "a.csv.rejects.csv"], PaymentsFixture.Names(payments.Options.Rejects));
    }

    [Fact]
    public async Task An_import_that_ends_after_its_first_batch_is_finished_by_the_next()
    {
        await using var payments = new PaymentsFixture(batchSize: 100);
        payments.DropPayments("a.csv", 250);
        using var cancel = new CancellationTokenSource();
        payments.Log.On = id =>
        {
            if (id == BatchImported)
            {
                cancel.Cancel();
            }
        };

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await payments.ImportAsync(cancel.Token));

        Assert.Equal(100, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));
        Assert.Equal(["a.csv"], PaymentsFixture.Names(payments.Options.Inbox));
        payments.Log.On = null;
        var summary = Assert.Single(await payments.ImportAsync());
        Assert.Equal((150L, 100L, 0L), (summary.Imported, summary.AlreadyKnown, summary.Rejected));
        Assert.Equal(250, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));
        Assert.Empty(PaymentsFixture.Names(payments.Options.Inbox));
        Assert.Empty(PaymentsFixture.Names(payments.Options.Rejects));
    }

    [Theory]
    [InlineData("p1,m,o,1,EUR", "5 values instead of 6")]
    [InlineData("p1,m,o,1,EUR,2026-01-28T10:00:00Z,x", "7 values instead of 6")]
    [InlineData(",m,o,1,EUR,2026-01-28T10:00:00Z", "payment_id is empty")]
    [InlineData("p1,m 1,o,1,EUR,2026-01-28T10:00:00Z", "merchant_id is 'm 1'")]
    [InlineData("p1,m,o,1.00,EUR,2026-01-28T10:00:00Z", "amount_minor is '1.00'")]
    [InlineData("p1,m,o,-1,EUR,2026-01-28T10:00:00Z", "amount_minor is '-1'")]
    [InlineData("p1,m,o,0,EUR,2026-01-28T10:00:00Z", "amount_minor is '0'")]
    [InlineData("p1,m,o,9223372036854775808,EUR,2026-01-28T10:00:00Z", "amount_minor is '9223372036854775808'")]
    [InlineData("p1,m,o,1,eur,2026-01-28T10:00:00Z", "currency is 'eur'")]
    [InlineData("p1,m,o,1,ABC,2026-01-28T10:00:00Z", "currency is 'ABC'")]
    [InlineData("p1,m,o,1,EUR,2026-01-28T10:00:00", "paid_at is '2026-01-28T10:00:00'")]
    [InlineData("p1,m,o,1,EUR,2026-02-30T10:00:00Z", "paid_at is '2026-02-30T10:00:00Z'")]
    [InlineData("p1,m,o,1,EUR,2026-01-28T10:00:00+01:0", "paid_at is '2026-01-28T10:00:00+01:0'")]
    [InlineData("p1,m,o,\"1,EUR,2026-01-28T10:00:00Z", "a quoted value is not closed before the end")]
    [InlineData("known,m,o,2,EUR,2026-01-28T10:00:00Z", "payment_id 'known' is known already with other content")]
    public async Task A_malformed_line_is_quarantined_with_file_line_and_reason(string line, string reason)
    {
        await using var payments = new PaymentsFixture();
        payments.Drop("a.csv", PaymentsFixture.Header + "known,m,o,1,EUR,2026-01-28T10:00:00Z\n" + line);

        await payments.ImportAsync();

        var row = Assert.Single(
            await payments.QueryAsync<(string File, long Line, string Raw, string Reason)>("SELECT file, line, raw, reason FROM quarantine")
        );
        Assert.Equal(("a.csv", 3L, line), (row.File, row.Line, row.Raw));
        Assert.Contains(reason, row.Reason, StringComparison.Ordinal);
        var list = File.ReadAllText(Path.Combine(payments.Options.Rejects, "a.csv.rejects.csv"));
        Assert.StartsWith("file,line,reason,raw\r\na.csv,3,", list, StringComparison.Ordinal);
        Assert.Equal(1, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("id;amount\n1;2\n")]
    public async Task A_file_that_is_no_payments_file_goes_to_the_rejects_whole(string content)
    {
        await using var payments = new PaymentsFixture();
        payments.Drop("other.csv", content);

        await payments.ImportAsync();

        Assert.Empty(PaymentsFixture.Names(payments.Options.Inbox));
        Assert.Equal(["other.csv", "other.csv.rejects.csv"], PaymentsFixture.Names(payments.Options.Rejects));
        Assert.Contains(payments.Log.Events, e => e.Id == 5001);
    }

    [Fact]
    public async Task What_is_still_being_written_is_left_alone()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv.tmp", 1);
        payments.DropPayments(".hidden.csv", 1);
        payments.DropPayments("recent.csv", 1);
        var now = payments.Time.GetUtcNow().UtcDateTime;
        File.SetLastWriteTimeUtc(Path.Combine(payments.Options.Inbox, "recent.csv"), now.AddSeconds(-1));

        Assert.Empty(await payments.ImportAsync());
        Assert.Equal(0, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));

        payments.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("recent.csv", Assert.Single(await payments.ImportAsync()).File);
        Assert.Equal([".hidden.csv", "a.csv.tmp"], PaymentsFixture.Names(payments.Options.Inbox));
    }

    [Fact]
    public async Task A_file_that_grows_while_it_is_read_stays_and_is_read_again()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 3);
        var path = Path.Combine(payments.Options.Inbox, "a.csv");
        payments.Log.On = id =>
        {
            if (id == BatchImported)
            {
                payments.Log.On = null;
                File.AppendAllText(path, "late,m,o,1,EUR,2026-01-28T10:00:00Z\n");
            }
        };

        Assert.Null(Assert.Single(await payments.ImportAsync()).MovedTo);
        Assert.True(File.Exists(path));

        Assert.NotNull(Assert.Single(await payments.ImportAsync()).MovedTo);
        Assert.Equal(4, await payments.NumberAsync("SELECT COUNT(*) FROM payments"));
    }

    [Fact]
    public async Task A_folder_that_cannot_be_made_is_named_with_the_setting_and_the_file_stays()
    {
        await using var payments = new PaymentsFixture();
        payments.DropPayments("a.csv", 1);
        await File.WriteAllTextAsync(payments.Options.Done, "a file where the folder should be");

        var error = await Assert.ThrowsAsync<PaymentsStorageException>(async () => await payments.ImportAsync());

        Assert.Contains(payments.Options.Done, error.Message, StringComparison.Ordinal);
        Assert.Contains("Payments:Done", error.Message, StringComparison.Ordinal);
        Assert.Equal(["a.csv"], PaymentsFixture.Names(payments.Options.Inbox));
    }

    [Fact]
    public async Task A_database_that_cannot_be_opened_is_named_with_the_setting()
    {
        await using var payments = new PaymentsFixture();
        Directory.CreateDirectory(Path.Combine(payments.Root, "payments.db"));
        payments.DropPayments("a.csv", 1);

        var error = await Assert.ThrowsAsync<PaymentsStorageException>(async () => await payments.ImportAsync());

        Assert.Contains(Path.Combine(payments.Root, "payments.db"), error.Message, StringComparison.Ordinal);
        Assert.Contains("Payments:Database", error.Message, StringComparison.Ordinal);
        Assert.Equal(["a.csv"], PaymentsFixture.Names(payments.Options.Inbox));
    }
}
