using System.Net;

namespace Scheduler.Worker.Configuration;

/// <summary>Reads addresses to listen on.</summary>
internal static class Addresses
{
    /// <summary>Reads a list that is separated by ';'.</summary>
    /// <param name="urls">For example <c>http://127.0.0.1:9090;http://[::1]:9090</c>.</param>
    /// <param name="endpoints">What could be read.</param>
    /// <returns>What is wrong, to follow the key in a sentence, or <see langword="null"/>.</returns>
    public static string? TryParse(string? urls, out IReadOnlyList<IPEndPoint> endpoints)
    {
        var found = new List<IPEndPoint>();
        endpoints = found;
        foreach (var url in (urls ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            // A URL may carry user:password@; the host and port are parsed by hand for '*' and '+', and nothing else is shown.
            if (!url.StartsWith("http://", StringComparison.OrdinalIgnoreCase) || url.Contains('@'))
            {
                return "must be a list of http://address:port, separated by ';' (another scheme or a user name was given).";
            }
            var authority = url["http://".Length..].TrimEnd('/');
            var colon = authority.LastIndexOf(':');
            var host = colon < 0 ? authority : authority[..colon];
            if (colon < 0 || !ushort.TryParse(authority[(colon + 1)..], out var port) || Address(host) is not { } address)
            {
                return $"contains '{url}'; http://address:port is expected, the address an IP address, localhost or '*', the "
                    + "port 0 to 65535.";
            }
            found.Add(new IPEndPoint(address, port));
        }
        return found.Count == 0 ? "is empty; http://address:port is expected, for example http://127.0.0.1:9090." : null;
    }

    private static IPAddress? Address(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? IPAddress.Loopback
        : host is "*" or "+" ? IPAddress.Any
        : IPAddress.TryParse(host.Trim('[', ']'), out var address) ? address
        : null;
}
