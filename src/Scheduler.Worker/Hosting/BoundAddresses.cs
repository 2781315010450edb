using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Scheduler.Worker.Hosting;

/// <summary>
/// The addresses of this process, bound before anything else starts: so ports chosen by the system are known to the first heartbeat, and
/// two workers that start together never fight for one port.
/// </summary>
internal sealed class BoundAddresses : IDisposable
{
    private readonly Dictionary<IPEndPoint, Socket> _sockets = [];
    private readonly HashSet<int> _healthPorts = [];
    private readonly HashSet<int> _ingressPorts = [];

    /// <summary>The first operations address as a URL.</summary>
    public string OperationsUrl { get; private set; } = "";

    /// <summary>The first address for senders of webhooks as a URL; empty without one.</summary>
    public string IngressUrl { get; private set; } = "";

    /// <summary>The ports where only health is shown.</summary>
    public IReadOnlyCollection<int> HealthPorts => _healthPorts;

    /// <summary>Addresses that were taken, with the port that replaced them.</summary>
    public List<(string Address, int Port)> Replaced { get; } = [];

    /// <summary>Whether a request came in where only health is shown, without reasons.</summary>
    public bool IsHealthOnly(int localPort) => _healthPorts.Contains(localPort);

    /// <summary>Whether a request came in where senders deliver webhooks, and nothing else is.</summary>
    public bool IsIngress(int localPort) => _ingressPorts.Contains(localPort);

    /// <summary>Binds.</summary>
    /// <param name="operations">The operations addresses.</param>
    /// <param name="health">Those of health alone.</param>
    /// <param name="ingress">Those for senders of webhooks.</param>
    /// <param name="orFreePort">Takes a free port where one is taken.</param>
    /// <exception cref="SocketException">An address is taken or not of this machine; the message names it.</exception>
    public static BoundAddresses Bind(
        IReadOnlyList<IPEndPoint> operations,
        IReadOnlyList<IPEndPoint> health,
        IReadOnlyList<IPEndPoint> ingress,
        bool orFreePort
    )
    {
        var bound = new BoundAddresses();
        try
        {
            foreach (var endpoint in operations)
            {
                var actual = bound.Add(endpoint, orFreePort);
                bound.OperationsUrl = bound.OperationsUrl.Length > 0 ? bound.OperationsUrl : $"http://{actual}";
            }
            foreach (var endpoint in health)
            {
                bound._healthPorts.Add(bound.Add(endpoint, orFreePort).Port);
            }
            foreach (var endpoint in ingress)
            {
                var actual = bound.Add(endpoint, orFreePort);
                bound._ingressPorts.Add(actual.Port);
                bound.IngressUrl = bound.IngressUrl.Length > 0 ? bound.IngressUrl : $"http://{actual}";
            }
            return bound;
        }
        catch
        {
            bound.Dispose();
            throw;
        }
    }

    /// <summary>Makes Kestrel listen on the bound sockets.</summary>
    public void Use(KestrelServerOptions kestrel, SocketTransportOptions sockets)
    {
        kestrel.AddServerHeader = false;
        foreach (var endpoint in _sockets.Keys)
        {
            kestrel.Listen(endpoint);
        }
        sockets.CreateBoundListenSocket = endpoint => _sockets[(IPEndPoint)endpoint];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var socket in _sockets.Values)
        {
            socket.Dispose();
        }
    }

    private IPEndPoint Add(IPEndPoint wanted, bool orFreePort)
    {
        Socket socket;
        try
        {
            socket = Listen(wanted);
        }
        catch (SocketException e) when (orFreePort && e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            socket = Listen(new IPEndPoint(wanted.Address, 0));
            Replaced.Add(($"http://{wanted}", ((IPEndPoint)socket.LocalEndPoint!).Port));
        }
        var actual = (IPEndPoint)socket.LocalEndPoint!;
        _sockets.Add(actual, socket);
        return actual;
    }

    private static Socket Listen(IPEndPoint endpoint)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(endpoint);
            // Linux lets two sockets bind one port with address reuse until one listens, so listening is part of taking it.
            socket.Listen();
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
