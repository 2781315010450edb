using System.Globalization;
using System.Net;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>Which endpoints a Redlock may have.</summary>
public static class RedlockEndpoints
{
    /// <summary>The fewest servers: with two, one that is down stops everything.</summary>
    public const int Fewest = 3;

    /// <summary>The most servers.</summary>
    public const int Most = 15;

    /// <summary>Says what is wrong, without showing anything but hosts and ports.</summary>
    /// <param name="endpoints">For each server host:port and options of StackExchange.Redis.</param>
    /// <returns>A sentence for each problem; none when the endpoints may be used.</returns>
    public static IReadOnlyList<string> Problems(IReadOnlyList<string>? endpoints)
    {
        var problems = new List<string>();
        var count = endpoints?.Count ?? 0;
        if (count < Fewest)
        {
            problems.Add(
                Invariant(
                    $"{count} endpoints are named; at least {Fewest} independent servers are needed for a majority that survives one."
                )
            );
        }
        else if (count > Most)
        {
            problems.Add(Invariant($"{count} endpoints are named; at most {Most} are allowed (5 survive two failures)."));
        }
        else if (count % 2 == 0)
        {
            problems.Add(
                Invariant(
                    $"{count} endpoints are named; an even number survives no more failures than {count - 1} do. Take one away or add one."
                )
            );
        }
        var seen = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        for (var i = 0; i < count; i++)
        {
            var (name, problem) = Read(endpoints![i]);
            if (problem is not null)
            {
                problems.Add(Invariant($"Endpoint {i} (not shown here) {problem}"));
            }
            else if (!seen.TryAdd(name!, i))
            {
                problems.Add(
                    Invariant($"Endpoints {seen[name!]} and {i} are both {name}; each server votes once, so name independent servers.")
                );
            }
        }
        return problems;
    }

    private static (string? Name, string? Problem) Read(string? endpoint)
    {
        ConfigurationOptions options;
        try
        {
            options = ConfigurationOptions.Parse(endpoint ?? "");
        }
        catch (Exception cause) when (cause is ArgumentException or FormatException)
        {
            return (null, "cannot be read; write 'host:port' and options of StackExchange.Redis, without a comma in the password.");
        }
        return options.EndPoints.Count != 1
            ? (null, Invariant($"names {options.EndPoints.Count} servers; write one 'host:port' and its options in each entry."))
            : (
                options.EndPoints[0] switch
                {
                    DnsEndPoint dns => Invariant($"{dns.Host}:{Port(dns.Port, options.Ssl)}"),
                    IPEndPoint ip => Invariant($"{ip.Address}:{Port(ip.Port, options.Ssl)}"),
                    var other => other.ToString(),
                },
                null
            );
    }

    private static int Port(int port, bool ssl) =>
        port != 0 ? port
        : ssl ? 6380
        : 6379;

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
