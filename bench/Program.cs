using Scheduler.Bench;
using Scheduler.Bench.Fires;
using Scheduler.Bench.Harness;
using Scheduler.Bench.History;
using Scheduler.Bench.Ledger;
using Scheduler.Bench.Locks;
using Scheduler.Bench.Members;
using Scheduler.Bench.Webhooks;

var stores = new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal)
{
    ["locks"] = [.. LockStores.All.Select(s => s.Name)],
    ["ledger"] = [.. LedgerStores.All.Select(s => s.Name)],
    ["history"] = [.. LedgerStores.All.Select(s => s.Name)],
    ["fires"] = [.. FireSystems.Ours.Select(s => s.Name)],
    ["members"] = ["redis+postgres"],
    ["webhooks"] = [.. WebhookStore.All.Select(s => s.Name)],
};

if (args is [Child.Command, ..])
{
    await ChildCommands.RunAsync(args[1..]);
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
try
{
    await (
        plan.Command switch
        {
            "locks" => LocksCommand.RunAsync(plan, report),
            "history" => HistoryCommand.RunAsync(plan, report),
            "ledger" => LedgerCommand.RunAsync(plan, report),
            "members" => MembersCommand.RunAsync(plan, report),
            "webhooks" => WebhooksCommand.RunAsync(plan, report),
            _ => FiresCommand.RunAsync(plan, report),
        }
    );
}
// Whatever it is: what was measured so far is still written, and the run counts as broken.
catch (Exception e)
{
    await Console.Error.WriteLineAsync(e.ToString());
    report.Problem($"The measurement ended early: {e.Message}");
}
await report.EndAsync();
return report.Problems.Count == 0 ? 0 : 1;
