using System.Globalization;

namespace Scheduler.Bench;

/// <summary>Reads the command line.</summary>
internal static class CommandLine
{
    /// <summary>The parts of <c>webhooks</c>.</summary>
    public static IReadOnlyList<string> Parts { get; } = ["ingest", "effects", "memory", "soak"];

    public static string Help(IReadOnlyDictionary<string, IReadOnlyList<string>> stores) =>
        $"""
            usage: dotnet run -c Release --project bench -- COMMAND [option]...

              locks     acquire and release, hand-off, 10,000 held leases, take-over, beside hand-written locks
              ledger    claim and completion, beside the two raw statements
              history   pages of a history of 1,000,000 runs, and claims while it is pruned
              fires     this scheduler beside Quartz's own cluster: fires/s, lateness, statements, take-over
              members   a large group in one process: what it asks when idle and for an occurrence, shares, dead replicas
              webhooks  deliveries taken in, beside hand-written receivers; until their effect; 100,000 while replicas are killed

              --store NAME      only this one; may be given several times ({string.Join(
                "; ",
                stores.Select(s => $"{s.Key}: {string.Join(", ", s.Value)}")
            )})
              --rounds N        how often everything is repeated, 1 to 20; default 3 (with --quick 1)
              --processes LIST  fires: with how many processes, for example 1,2,3 (the default; with --quick 2); each 1 to 8
              --replicas N      members: how many, 2 to 100; default 50 (with --quick 5)
              --part NAME       webhooks: only this part; may be given several times ({string.Join(", ", Parts)})
              --json FILE       writes everything to a file too
              --quick           under a minute: shows that it works, its figures say nothing
              --help            shows this

            Exit code 0: measured; 1: something was lost, doubled or broken; 2: wrong use.
            """;

    /// <exception cref="UsageException">It is wrong.</exception>
    public static Plan Read(string[] args, IReadOnlyDictionary<string, IReadOnlyList<string>> stores)
    {
        if (args.Length == 0 || !stores.TryGetValue(args[0], out var known))
        {
            throw new UsageException(
                $"{(args.Length == 0 ? "No command" : $"Unknown command '{args[0]}'")}; allowed: {string.Join(", ", stores.Keys)}."
            );
        }
        var (chosen, parts, json, quick) = (new List<string>(), new List<string>(), (string?)null, false);
        int? rounds = null;
        int? replicas = null;
        IReadOnlyList<int>? processes = null;
        for (var i = 1; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--store":
                    chosen.Add(OneOf(known, "store", Value(args, ref i), args[0]));
                    break;
                case "--rounds":
                    rounds = Number("--rounds", Value(args, ref i), 1, 20);
                    break;
                case "--processes" when args[0] == "fires":
                    processes = [.. Value(args, ref i).Split(',').Select(p => Number("--processes", p, 1, 8)).Distinct().Order()];
                    break;
                case "--replicas" when args[0] == "members":
                    replicas = Number("--replicas", Value(args, ref i), 2, 100);
                    break;
                case "--part" when args[0] == "webhooks":
                    parts.Add(OneOf(Parts, "part", Value(args, ref i), args[0]));
                    break;
                case "--json":
                    json = Writable(Value(args, ref i));
                    break;
                case "--quick":
                    quick = true;
                    break;
                default:
                    throw new UsageException(
                        $"Unknown option '{args[i]}' of {args[0]}; allowed: --store, --rounds, --json, --quick, --help"
                            + args[0] switch
                            {
                                "fires" => ", --processes.",
                                "members" => ", --replicas.",
                                "webhooks" => ", --part.",
                                _ => ".",
                            }
                    );
            }
        }
        return new Plan(
            args[0],
            chosen.Count > 0 ? [.. chosen.Distinct()] : known,
            json,
            quick,
            rounds ?? (quick ? 1 : 3),
            processes ?? (quick ? [2] : [1, 2, 3]),
            replicas ?? (quick ? 5 : 50),
            parts.Count > 0 ? [.. parts.Distinct()] : Parts,
            $"dotnet run -c Release --project bench -- {string.Join(' ', args)}"
        );
    }

    private static string Value(string[] args, ref int i) =>
        i + 1 < args.Length ? args[++i] : throw new UsageException($"{args[i]} needs a value.");

    private static string OneOf(IReadOnlyList<string> known, string what, string name, string command) =>
        known.Contains(name)
            ? name
            : throw new UsageException($"Unknown {what} '{name}' of {command}; allowed: {string.Join(", ", known)}.");

    private static int Number(string option, string text, int min, int max) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= min && number <= max
            ? number
            : throw new UsageException($"{option} '{text}'; allowed: {min} to {max}.");

    // Said before anything is measured, not half an hour later.
    private static string Writable(string file)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(file));
        return Directory.Exists(folder) && !Directory.Exists(file)
            ? file
            : throw new UsageException($"--json '{file}': its folder must exist, and it must name a file.");
    }
}
