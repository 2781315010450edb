using System.Globalization;
using Scheduler.Bench.Fires;
using Scheduler.Bench.Locks;
using Scheduler.Bench.Webhooks;
using Scheduler.Bench.Webhooks.Floor;
using Scheduler.Bench.Webhooks.Sending;

namespace Scheduler.Bench;

/// <summary>The internal commands: what the processes do that a measurement starts.</summary>
internal static class ChildCommands
{
    public static Task RunAsync(string[] words) =>
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
            [TakeOver.ChildCommand, var store, var address, var key, var lease] => TakeOver.RunChildAsync(
                store,
                address,
                key,
                Number(lease)
            ),
            [FireReplica.ChildCommand, var setting] => FireReplica.RunChildAsync(setting),
            [Sender.ChildCommand] => Sender.RunChildAsync(),
            [WebhookReplica.ChildCommand, var setup] => WebhookReplica.RunChildAsync(setup),
            [FloorServer.ChildCommand, var setup] => FloorServer.RunChildAsync(setup),
            [FloorDrain.ChildCommand, var setup] => FloorDrain.RunChildAsync(setup),
            _ => throw new InvalidOperationException($"The internal command '{string.Join(' ', words)}' is unknown."),
        };

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
