using System.Globalization;
using System.Text.Json;
using Scheduler.Worker.Configuration;

namespace Scheduler.Worker.CommandLine;

/// <summary>The commands <c>inbox</c>: what people do with events of webhooks, by way of a replica that runs.</summary>
internal static class InboxCommand
{
    public const string Help = """
        scheduler inbox: events of webhooks, by the operations address of a replica that runs; for the whole group

        usage: scheduler inbox COMMAND [options]

        commands
          list                      events, the newest first
          dead                      the same of those that are dead
          show ID                   one event; never its body
          replay ID                 try a failed or dead event again; with --force a done one, or look again at a quarantined or ignored one
          replay --all              the same with all that fit: dead ones, or --state failed; with --force done, quarantined or ignored
          resolve ID DECISION       keepFirst: ignore a conflict; accept: process it as an event of its own; ignore: what nobody will
                                    process (received, failed, dead or quarantined)
          resolve --all ignore      ignore all that fit; needs --state

        options
          --source NAME             only of this source
          --state STATE             received, processing, failed, done, ignored, dead, conflict, quarantined
          --type TYPE               only of this type
          --from TIME, --to TIME    only what came at or after, before; ISO 8601
          --limit N                 list: so many, 1 to 1,000; default 100
          --cursor CURSOR           list: go on where the page before ended
          --force                   see replay
          --all                     see replay and resolve
          --json                    print the answer as JSON
          --url URL                 the operations address; default: the first of Scheduler:Operations:Urls
          --help                    show this

        On a terminal lists have columns; piped they are lines with tabs between: id, state, source, type, orderKey, attempts, receivedAt,
        error.
        Exit codes: 0 done, 1 failed or refused, 2 wrong use or configuration.
        """;

    // A bound for answers that would lead on for ever: a thousand pages of a thousand events.
    private const int MostPages = 1_000;

    private static readonly string[] Flags = ["--json", "--force", "--all"];
    private static readonly string[] Options = ["--source", "--state", "--type", "--from", "--to", "--limit", "--cursor", "--url"];
    private static readonly string[] Columns = ["id", "state", "source", "type", "orderKey", "attempts", "receivedAt", "error"];

    /// <summary>Runs a command.</summary>
    /// <param name="args">What follows <c>inbox</c>.</param>
    /// <param name="output">Where results go.</param>
    /// <param name="errors">Where problems go.</param>
    /// <param name="isTerminal">Whether a person reads the results.</param>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter errors, bool isTerminal)
    {
        try
        {
            var given = Arguments.Parse(args, Flags, Options);
            var printer = new Printer(output, isTerminal, given.Has("--json"));
            using var client = OperationsClient.At(given.Value("--url"), given.Overrides);
            await (
                (given.Words, given.Has("--all")) switch
                {
                    (["list"], false) => ListAsync(client, printer, errors, given, given.Value("--state")),
                    (["dead"], false) when given.Value("--state") is null => ListAsync(client, printer, errors, given, "dead"),
                    (["show", var id], false) => ShowAsync(printer, client.GetAsync(PathOf(id))),
                    (["replay", var id], false) => ShowAsync(printer, client.PostAsync($"{PathOf(id)}/replay", ForceOf(given))),
                    (["resolve", var id, var decision], false) => ShowAsync(
                        printer,
                        client.PostAsync($"{PathOf(id)}/resolve", ("decision", decision))
                    ),
                    (["replay"], true) => AllAsync(client, printer, given, "replay", ForceOf(given)),
                    (["resolve", var decision], true) => AllAsync(client, printer, given, "resolve", ("decision", decision)),
                    _ => throw new WrongUseException("expected list, dead, show ID, replay ID, or resolve ID DECISION; see inbox --help"),
                }
            );
            return Commands.Ok;
        }
        catch (Exception problem) when (problem is WrongUseException or SettingsException)
        {
            await errors.WriteLineAsync($"scheduler: {problem.Message}");
            return Commands.WrongUse;
        }
        catch (CommandFailedException problem)
        {
            await errors.WriteLineAsync($"scheduler: {problem.Message}");
            return Commands.Failed;
        }
    }

    private static async Task ListAsync(OperationsClient client, Printer printer, TextWriter errors, Arguments given, string? state)
    {
        var page = await client.GetAsync(
            "/api/inbox",
            [.. FilterOf(given), ("state", state), ("limit", given.Value("--limit")), ("cursor", given.Value("--cursor"))]
        );
        if (printer.IsJson)
        {
            await printer.JsonAsync(page);
            return;
        }
        await printer.TableAsync([.. page.GetProperty("items").EnumerateArray()], Columns);
        if (NextOf(page) is { } next)
        {
            await errors.WriteLineAsync($"more: --cursor {next}");
        }
    }

    private static async Task ShowAsync(Printer printer, Task<JsonElement> answer)
    {
        var found = await answer;
        await (printer.IsJson ? printer.JsonAsync(found) : printer.ThingAsync(found));
    }

    private static async Task AllAsync(
        OperationsClient client,
        Printer printer,
        Arguments given,
        string change,
        (string Name, string? Value) how
    )
    {
        var (changed, left) = (0, 0);
        string? cursor = null;
        for (var pages = 0; pages < MostPages; pages++)
        {
            var answer = await client.PostAsync(
                $"/api/inbox/{change}",
                [.. FilterOf(given), ("state", given.Value("--state")), ("limit", "1000"), ("cursor", cursor), how]
            );
            changed += answer.GetProperty("changed").GetInt32();
            left += answer.GetProperty("left").GetInt32();
            cursor = NextOf(answer);
            if (cursor is null)
            {
                break;
            }
        }
        var sum = JsonSerializer.SerializeToElement(
            new Dictionary<string, int>(StringComparer.Ordinal) { ["changed"] = changed, ["left"] = left }
        );
        await (
            printer.IsJson
                ? printer.JsonAsync(sum)
                : printer.SayAsync(string.Create(CultureInfo.InvariantCulture, $"{changed} events changed, {left} left as they are"))
        );
    }

    private static (string Name, string? Value)[] FilterOf(Arguments given) =>
        [
            ("source", given.Value("--source")),
            ("type", given.Value("--type")),
            ("from", given.Value("--from")),
            ("to", given.Value("--to")),
        ];

    private static (string Name, string? Value) ForceOf(Arguments given) => ("force", given.Has("--force") ? "true" : null);

    private static string PathOf(string id) => $"/api/inbox/{Uri.EscapeDataString(id)}";

    private static string? NextOf(JsonElement page) => page.GetProperty("next").GetString();
}
