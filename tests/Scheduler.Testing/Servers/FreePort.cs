using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Scheduler.Testing.Servers;

/// <summary>Finds ports of the loopback address that nobody listens on. Thread-safe.</summary>
public static class FreePort
{
    private static readonly ConcurrentDictionary<int, byte> Given = new();

    /// <summary>A port that was free a moment ago, chosen by the system, and that this process was not given before: servers that start at
    /// the same time would else now and then get the same one.</summary>
    public static int Next()
    {
        while (true)
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var port = ((IPEndPoint)listener.LocalEndpoint).Port;
            if (Given.TryAdd(port, 0))
            {
                return port;
            }
        }
    }
}
