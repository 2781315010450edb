using System.Reflection;

namespace Scheduler.Worker.CommandLine;

/// <summary>The worker's command line.</summary>
internal static class Commands
{
    public const int Ok = 0;
    public const int Failed = 1;
    public const int WrongUse = 2;

    private const string Help = """
        scheduler: runs each [SingleInstance] job once over all replicas

        usage: scheduler [run] [options] [--Section:Key=value ...]
               scheduler inbox COMMAND [options]

        commands
          run             run a worker until it is told to stop (default)
          inbox           look at events of webhooks and decide about them: list, show, replay, resolve, dead (inbox --help)

        options of run
          --free-port     take a free port when the configured one is in use, and print it
          --sample-data   put the sample payments file into the inbox, once in the life of the payments database; and where no source
                          of webhooks is configured, take 'payments' with a secret made once in data/dev-secret

        options
          --help          show this
          --version       show the version

        Configuration: appsettings.json in the current directory, or else beside the executable; then environment variables
        (Scheduler__Locks__Backend=redis); then the command line (--Scheduler:Locks:Backend=redis).
        Sections: Scheduler, Payments, Logs.
        Exit codes: 0 done, or stopped as told, 1 failed, 2 wrong use or configuration.
        """;

    private static readonly string[] Sections = ["Scheduler:", "Payments:", "Logs:"];

    /// <summary>Reads the arguments and runs the command.</summary>
    public static async Task<int> RunAsync(string[] args, TextWriter output, TextWriter errors)
    {
        var isInbox = args is ["inbox", ..];
        if (args.Any(a => a is "--help" or "-h" or "-?"))
        {
            await output.WriteLineAsync(isInbox ? InboxCommand.Help : Help);
            return Ok;
        }
        if (isInbox)
        {
            return await InboxCommand.RunAsync(args[1..], output, errors, isTerminal: !Console.IsOutputRedirected);
        }
        if (args.Contains("--version"))
        {
            await output.WriteLineAsync(Version);
            return Ok;
        }
        var commands = args.Where(a => !a.StartsWith('-')).ToList();
        if (commands is not [] and not ["run"])
        {
            return await WrongAsync(errors, $"unknown command '{string.Join(' ', commands)}'; known: run, inbox");
        }
        var overrides = new List<string>();
        var (freePort, sampleData) = (false, false);
        foreach (var arg in args.Where(a => a.StartsWith('-')))
        {
            if (arg == "--free-port")
            {
                freePort = true;
            }
            else if (arg == "--sample-data")
            {
                sampleData = true;
            }
            else if (IsOverride(arg))
            {
                overrides.Add(arg);
            }
            else
            {
                // Only the name: the value may be a secret.
                return await WrongAsync(errors, $"unknown option '{arg.Split('=')[0]}'; see --help");
            }
        }
        return await RunCommand.RunAsync([.. overrides], freePort, sampleData, errors);
    }

    /// <summary>What <c>--version</c> prints.</summary>
    public static string Version =>
        typeof(Commands).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0.0.0";

    /// <summary>Whether an argument sets a value of the configuration.</summary>
    public static bool IsOverride(string arg) =>
        arg.StartsWith("--", StringComparison.Ordinal)
        && arg.Contains('=')
        && Array.Exists(Sections, s => arg.AsSpan(2).StartsWith(s, StringComparison.OrdinalIgnoreCase));

    private static async Task<int> WrongAsync(TextWriter errors, string problem)
    {
        await errors.WriteLineAsync($"scheduler: {problem}");
        return WrongUse;
    }
}
