using System.Net;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Worker.Configuration;

/// <summary>The checks of section <c>Scheduler</c> and <c>Logs</c> that need no job class.</summary>
internal static class SchedulerOptionsValidator
{
    public static IEnumerable<string> Validate(SchedulerOptions options)
    {
        var locks = Backends.Find(Backends.Locks, options.Locks.Backend);
        var state = Backends.Find(Backends.State, options.State.Backend);
        return
        [
            .. BackendProblems("Scheduler:Locks", options.Locks.Backend, locks, Backends.Locks, options.Locks.ConnectionString),
            .. EndpointProblems(options.Locks, locks),
            .. ListenProblems("Scheduler:Locks", options.Locks.ListenConnectionString, locks),
            .. SchemaProblems("Scheduler:Locks", options.Locks.Schema),
            .. BackendProblems("Scheduler:State", options.State.Backend, state, Backends.State, options.State.ConnectionString),
            .. ListenProblems("Scheduler:State", options.State.ListenConnectionString, state),
            .. SchemaProblems("Scheduler:State", options.State.Schema),
            .. GroupProblems(options, locks, state),
            .. LeaseOptionsValidator.Validate(options.Locks.ToLeases(), "Scheduler:Locks"),
            .. options.Replica.Name is { } name && !Names.IsValid(name)
                ? [$"Scheduler:Replica:Name is '{name}'; allowed is {Names.Allowed}."]
                : Array.Empty<string>(),
            .. Range("Scheduler:State:KeepRuns", options.State.KeepRuns, TimeSpan.FromMinutes(1), TimeSpan.FromDays(36_500)),
            .. Range("Scheduler:Stop:Grace", options.Stop.Grace, TimeSpan.Zero, TimeSpan.FromHours(1)),
            .. Range("Scheduler:Stop:DrainDelay", options.Stop.DrainDelay, TimeSpan.Zero, TimeSpan.FromMinutes(5)),
            .. Range("Scheduler:MaxClockOffset", options.MaxClockOffset, TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(1)),
            .. options.JobAssemblies.Count == 0
                ? ["Scheduler:JobAssemblies is empty; name at least one assembly, for example Payments.Jobs."]
                : Array.Empty<string>(),
            .. AddressProblems(options.Operations),
            .. WebhookProblems(options),
        ];
    }

    public static IEnumerable<string> Validate(LogOptions options)
    {
        if (options.MaxFileBytes is < 64 * 1024 or > 1024L * 1024 * 1024)
        {
            yield return $"Logs:MaxFileBytes is {options.MaxFileBytes}; allowed is 65536 to 1073741824.";
        }
        if (options.MaxFiles is < 1 or > 1_000)
        {
            yield return $"Logs:MaxFiles is {options.MaxFiles}; allowed is 1 to 1000.";
        }
        foreach (var problem in Range("Logs:KeepFiles", options.KeepFiles, TimeSpan.FromHours(1), TimeSpan.FromDays(3_650)))
        {
            yield return problem;
        }
    }

    private static IEnumerable<string> BackendProblems(
        string section,
        string? name,
        Backend? backend,
        IReadOnlyList<Backend> catalogue,
        string? connectionString
    )
    {
        if (backend is null)
        {
            yield return $"{section}:Backend is '{name}'; allowed is {string.Join(", ", catalogue.Select(b => b.Name))}.";
        }
        else if (backend.Problem(connectionString) is { } problem)
        {
            yield return $"{section}:ConnectionString (not shown here) {problem}";
        }
    }

    private static IEnumerable<string> EndpointProblems(LocksOptions options, Backend? locks)
    {
        if (locks?.EndpointProblems is { } problems)
        {
            return problems(options.Endpoints).Select(p => $"Scheduler:Locks:Endpoints: {p}");
        }
        return locks is null || options.Endpoints.Count == 0
            ? []
            :
            [
                $"Scheduler:Locks:Endpoints has {options.Endpoints.Count} entries, but Scheduler:Locks:Backend '{locks.Name}' is found by "
                    + "ConnectionString; remove them or choose "
                    + string.Join(" or ", Backends.Locks.Where(b => b.EndpointProblems is not null).Select(b => $"'{b.Name}'"))
                    + ".",
            ];
    }

    private static IEnumerable<string> ListenProblems(string section, string? listenConnectionString, Backend? backend)
    {
        var key = $"{section}:ListenConnectionString (not shown here)";
        if (string.IsNullOrEmpty(listenConnectionString) || backend is null)
        {
            yield break;
        }
        if (!backend.Listens)
        {
            yield return $"{key} is set, but {section}:Backend '{backend.Name}' has nothing to listen to; remove it, or use postgres.";
        }
        else if (backend.Problem(listenConnectionString) is { } problem)
        {
            yield return $"{key} {problem}";
        }
    }

    private static string[] SchemaProblems(string section, string schema) =>
        PostgresStateExtensions.FindSchemaProblem(schema) is { } problem ? [$"{section}:Schema is '{schema}'; {problem}"] : [];

    private static IEnumerable<string> GroupProblems(SchedulerOptions options, Backend? locks, Backend? state)
    {
        var (section, networked) = locks is { IsNetworked: true } ? ("Locks", locks) : ("State", state);
        if (options.Group is null && networked is { IsNetworked: true })
        {
            yield return $"Scheduler:Group is missing; with Scheduler:{section}:Backend '{networked.Name}' it is required, because other "
                + $"services may use the same server: {Names.Allowed}, equal on all replicas of this scheduler.";
        }
        else if (options.Group is not null && !Names.IsValid(options.Group))
        {
            yield return $"Scheduler:Group is '{options.Group}'; allowed is {Names.Allowed}.";
        }
    }

    private static IEnumerable<string> AddressProblems(OperationsOptions options)
    {
        if (Addresses.TryParse(options.Urls, out var operations) is { } problem)
        {
            yield return $"Scheduler:Operations:Urls {problem}";
        }
        foreach (var endpoint in operations.Where(e => !IPAddress.IsLoopback(e.Address)))
        {
            yield return $"Scheduler:Operations:Urls is '{options.Urls}', which can be reached from other hosts at {endpoint}; "
                + "without tokens "
                + "only loopback addresses are allowed (http://127.0.0.1:9090). For probes from other hosts set Operations:HealthUrls.";
        }
        if (options.HealthUrls is null)
        {
            yield break;
        }
        if (Addresses.TryParse(options.HealthUrls, out var health) is { } healthProblem)
        {
            yield return $"Scheduler:Operations:HealthUrls {healthProblem}";
        }
        // Requests are told apart by the port they came in on.
        foreach (var port in operations.Select(e => e.Port).Intersect(health.Select(e => e.Port)).Where(p => p != 0))
        {
            yield return $"Scheduler:Operations:HealthUrls is '{options.HealthUrls}', with port {port} of Operations:Urls; give "
                + "it a port of its own.";
        }
    }

    private static IEnumerable<string> WebhookProblems(SchedulerOptions options)
    {
        const string Sources = "Scheduler:Webhooks:Sources";
        foreach (var (name, source) in options.Webhooks.Sources)
        {
            foreach (var problem in WebhookSourceOptionsValidator.Validate(name, source, Sources))
            {
                yield return problem;
            }
        }
        if (options.Webhooks.Degree is < 1 or > IInbox.MaxBatch)
        {
            yield return $"Scheduler:Webhooks:Degree is {options.Webhooks.Degree}; allowed is 1 to {IInbox.MaxBatch}.";
        }
        var keeps = Range("Scheduler:Webhooks:KeepBodies", options.Webhooks.KeepBodies, TimeSpan.FromHours(1), TimeSpan.FromDays(36_500));
        keeps = keeps.Concat(
            Range("Scheduler:Webhooks:KeepDead", options.Webhooks.KeepDead, TimeSpan.FromDays(1), TimeSpan.FromDays(36_500))
        );
        if (options.Webhooks.KeepKeys != TimeSpan.Zero)
        {
            var keys = Range("Scheduler:Webhooks:KeepKeys", options.Webhooks.KeepKeys, TimeSpan.FromDays(400), TimeSpan.FromDays(36_500));
            keeps = keeps.Concat(keys.Select(k => k[..^1] + ", or 00:00:00 for ever."));
        }
        foreach (var problem in keeps)
        {
            yield return problem;
        }
        if (options.Webhooks.Sources.Count == 0)
        {
            yield break;
        }
        if (options.State.Backend == "none")
        {
            yield return $"{Sources} has {options.Webhooks.Sources.Count} entries, but Scheduler:State:Backend is 'none'; events are kept "
                + "in State: choose sqlite or postgres.";
        }
        if (Addresses.TryParse(options.Ingress.Urls, out var ingress) is { } problemOfUrls)
        {
            yield return $"Scheduler:Ingress:Urls {problemOfUrls}";
        }
        // Requests are told apart by the port they came in on.
        Addresses.TryParse(options.Operations.Urls, out var operations);
        Addresses.TryParse(options.Operations.HealthUrls, out var health);
        foreach (var port in ingress.Select(e => e.Port).Intersect(operations.Concat(health).Select(e => e.Port)).Where(p => p != 0))
        {
            yield return $"Scheduler:Ingress:Urls is '{options.Ingress.Urls}', with port {port} of Operations; give it a port of its own.";
        }
    }

    private static IEnumerable<string> Range(string key, TimeSpan value, TimeSpan least, TimeSpan most)
    {
        if (value < least || value > most)
        {
            yield return $"{key} is {value}; allowed is {least} to {most}.";
        }
    }
}
