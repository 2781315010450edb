using System.Text.Json;
using Scheduler.Tests.Architecture;
using Scheduler.Worker.CommandLine;

namespace Scheduler.Tests.Worker;

// The same from the command line, which asks a replica.
public sealed partial class InboxHttpTests
{
    private const string Unpaid = """{"orderId":"1","paymentId":"p","refundedAt":"2026-01-31T13:00:00Z"}""";

    [Fact]
    public async Task The_command_line_lists_shows_and_decides()
    {
        await using var app = await StartAsync(("Scheduler:Webhooks:Sources:payments:MaxAttempts", "1"));
        // There is nothing to give back.
        var dead = Id(await DeliverAsync(app, Unpaid, Refunded));
        await ShowsAsync(app, dead, "dead", attempts: 1);
        var done = await DoneAsync(app, await DeliverAsync(app, Payment("2"), Paid));

        var (code, output, _) = await InboxAsync(app, isTerminal: false, "dead");
        var fields = Assert.Single(output.TrimEnd().Split('\n')).Split('\t');
        Assert.Equal(
            (0, dead, "dead", "payments", Refunded, "1", "1"),
            (code, fields[0], fields[1], fields[2], fields[3], fields[4], fields[5])
        );
        Assert.Equal(8, fields.Length);
        Assert.Contains("no such payment", fields[7], StringComparison.Ordinal);
        (_, output, _) = await InboxAsync(app, isTerminal: true, "list", "--source", "payments", "--type", Paid);
        Assert.Equal(2, output.TrimEnd().Split('\n').Length);
        Assert.StartsWith("ID  ", output, StringComparison.Ordinal);
        Assert.Contains(done, output, StringComparison.Ordinal);
        (_, output, var told) = await InboxAsync(app, isTerminal: false, "list", "--limit=1");
        Assert.StartsWith(done, output, StringComparison.Ordinal);
        Assert.StartsWith("more: --cursor ", told, StringComparison.Ordinal);
        (_, output, _) = await InboxAsync(app, isTerminal: false, "list", "--json", "--cursor", told.Split(' ')[2].Trim());
        Assert.Equal(dead, JsonDocument.Parse(output).RootElement.GetProperty("items")[0].GetProperty("id").GetString());

        (code, output, _) = await InboxAsync(app, isTerminal: false, "show", dead);
        Assert.Equal(0, code);
        Assert.Contains($"id\t{dead}\n", output, StringComparison.Ordinal);
        Assert.Contains("orderKey\t1\n", output, StringComparison.Ordinal);

        Assert.Equal(0, (await InboxAsync(app, isTerminal: false, "replay", dead)).Code);
        await ShowsAsync(app, dead, "dead", attempts: 2);
        Assert.Equal("1 events changed, 0 left as they are", (await InboxAsync(app, isTerminal: false, "replay", "--all")).Output.Trim());
        await ShowsAsync(app, dead, "dead", attempts: 3);
        (code, output, _) = await InboxAsync(app, isTerminal: false, "replay", "--all", "--state", "done", "--force", "--json");
        Assert.Equal((0, """{"changed":1,"left":0}"""), (code, output.Trim()));
        await ShowsAsync(app, done, "done", attempts: 2);
        (code, output, _) = await InboxAsync(app, isTerminal: false, "resolve", dead, "ignore", "--json");
        Assert.Equal((0, "ignored"), (code, JsonDocument.Parse(output).RootElement.GetProperty("state").GetString()));
    }

    [Fact]
    public async Task The_command_line_says_what_was_refused_and_what_is_wrong()
    {
        await using var app = await StartAsync();
        var done = await DoneAsync(app, await DeliverAsync(app, Payment("1"), Paid));

        await RefusedAsync(1, "There is no event with this id", "show", "none");
        await RefusedAsync(1, "force=true", "replay", done);
        await RefusedAsync(1, "Only a conflict can be resolved so", "resolve", done, "accept");
        await RefusedAsync(1, "no replica answers at http://127.0.0.1:1/", "list", "--url", "http://127.0.0.1:1");
        await RefusedAsync(2, "decision must be keepFirst or accept or ignore", "resolve", done, "maybe");
        await RefusedAsync(2, "limit", "list", "--limit", "0");
        await RefusedAsync(2, "state must be", "resolve", "--all", "ignore");
        await RefusedAsync(2, "--limit needs a value", "list", "--limit", "--json");
        await RefusedAsync(2, "unknown option '--secret'", "list", "--secret=hunter2");
        await RefusedAsync(2, "expected list, dead", "forget", done);
        await RefusedAsync(2, "expected list, dead");
        await RefusedAsync(2, "lets the system choose the port", "list", "--Scheduler:Operations:Urls=http://127.0.0.1:0");

        async Task RefusedAsync(int expected, string reason, params string[] args)
        {
            var (code, output, errors) = await InboxAsync(
                args.Contains("--Scheduler:Operations:Urls=http://127.0.0.1:0") ? null : app,
                false,
                args
            );
            Assert.Equal((expected, ""), (code, output));
            Assert.StartsWith("scheduler: ", errors, StringComparison.Ordinal);
            Assert.Contains(reason, errors, StringComparison.Ordinal);
            Assert.DoesNotContain("hunter2", errors, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_lines_of_the_documents_work()
    {
        var lines = ((string[])["README.md", "docs/webhooks.md"])
            .SelectMany(d => File.ReadLines(Path.Combine(Repository.Root, d)))
            .Where(l => l.StartsWith("scheduler inbox ", StringComparison.Ordinal))
            .Select(l => l.Split('#')[0].TrimEnd())
            .ToList();
        Assert.True(lines.Count >= 5);
        await using var app = await StartAsync(("Scheduler:Webhooks:Sources:payments:MaxAttempts", "1"));
        var dead = Id(await DeliverAsync(app, Unpaid, Refunded));
        foreach (var line in lines)
        {
            await ShowsAsync(app, dead, "dead");
            var (code, _, errors) = await InboxAsync(app, false, line.Replace("ID", dead, StringComparison.Ordinal).Split(' ')[2..]);
            Assert.True(code == 0, $"{line}: {errors}");
        }
    }

    [Theory]
    [InlineData("inbox COMMAND", "--help")]
    [InlineData("resolve ID DECISION", "inbox", "--help")]
    public async Task Help_is_shown(string expected, params string[] args)
    {
        await using var output = new StringWriter();
        Assert.Equal(0, await Commands.RunAsync(args, output, TextWriter.Null));
        Assert.Contains(expected, output.ToString(), StringComparison.Ordinal);
    }

    // Without an address of its own it is the app's.
    private static async Task<(int Code, string Output, string Errors)> InboxAsync(WorkerApp? app, bool isTerminal, params string[] args)
    {
        await using var output = new StringWriter();
        await using var errors = new StringWriter();
        string[] at = app is null || args.Contains("--url") ? [] : ["--url", app.Operations];
        var code = await InboxCommand.RunAsync([.. args, .. at], output, errors, isTerminal);
        return (code, output.ToString(), errors.ToString());
    }
}
