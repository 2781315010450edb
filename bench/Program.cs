using System.Globalization;
using Scheduler.Bench;
using Scheduler.Bench.Harness;
using Scheduler.Bench.Locks;

var stores = new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal) { ["locks"] = [.. LockStores.All.Select(s => s.Name)] };

if (args is [Child.Command, ..])
{
    await RunChildAsync(args[1..]);
    return 0;
}
if (args.Contains("--help") || args.Contains("-h"))
{
    Console.WriteLine(CommandLine.Help(stores));
    return 0;
}
Plan plan;
try
{
    plan = CommandLine.Read(args, stores);
}
catch (UsageException e)
{
    await Console.Error.WriteLineAsync($"{e.Message} See --help.");
    return 2;
}
var report = new Report(plan);
report.Head();
await LocksCommand.RunAsync(plan, report);
await report.EndAsync();
return report.Problems.Count == 0 ? 0 : 1;

static Task RunChildAsync(string[] words) =>
    words switch
    {
        [HandOff.ChildCommand, var store, var address, var group, var ours, var me, var seconds] => HandOff.RunChildAsync(
            store,
            address,
            group,
            bool.Parse(ours),
            int.Parse(me, CultureInfo.InvariantCulture),
            Number(seconds)
        ),
        [HeldLeases.ChildCommand, var store, var address, var group, var ours, var seconds] => HeldLeases.RunChildAsync(
            store,
            address,
            group,
            bool.Parse(ours),
            Number(seconds)
        ),
        [TakeOver.ChildCommand, var store, var address, var key, var lease] => TakeOver.RunChildAsync(store, address, key, Number(lease)),
        _ => throw new InvalidOperationException($"The internal command '{string.Join(' ', words)}' is unknown."),
    };

static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
