using Scheduler.Locking;
using Scheduler.TestPeer;

// A second real process for tests: what it prints, line by line, is what a test waits for.
return args switch
{
    ["sqlite-hold", var file, var group, var key] => await SqliteCommands.HoldAsync(file, group, key, withChild: false),
    ["sqlite-hold-with-child", var file, var group, var key] => await SqliteCommands.HoldAsync(file, group, key, withChild: true),
    ["sqlite-stress", var file, var group, var writers, var cycles] => await SqliteCommands.StressAsync(file, group, writers, cycles),
    ["state-write", var file, var group] => await StateCommands.WriteAsync(file, group),
    // The place is a file of SQLite, or a connection string of PostgreSQL.
    ["state-stress", var place, var group, var name, var callers, var cycles] => await StateCommands.StressAsync(
        place,
        group,
        name,
        callers,
        cycles
    ),
    ["session-hold", var place, var group, var leases] => await SessionCommands.HoldAsync(place, group, leases, new LeaseOptions()),
    ["session-hold", var place, var group, var leases, var longest] => await SessionCommands.HoldAsync(
        place,
        group,
        leases,
        SessionCommands.LongestLease(longest)
    ),
    ["effect", var place, var kind, var calls, var dieAt] => await EffectCommands.AttemptAsync(place, kind, calls, dieAt),
    ["pay", var kind, var place, var token, var where] => await FenceCommands.PayAsync(kind, place, token, where),
    _ => SqliteCommands.Usage(),
};
