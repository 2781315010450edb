using Microsoft.AspNetCore.Server.Kestrel.Core;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Worker.Ingress;

/// <summary>What anybody may take of a replica before it is known who it is. Kestrel's part holds for each address by itself. Immutable
/// and thread-safe.</summary>
internal sealed record IngressLimits
{
    /// <summary>Connections to one address; a further one is closed at once.</summary>
    public int Connections { get; init; } = 1_024;

    /// <summary>Headers of a request; more are 431.</summary>
    public int Headers { get; init; } = 64;

    /// <summary>Bytes of all headers of a request; more are 431.</summary>
    public int HeaderBytes { get; init; } = 16 * 1024;

    /// <summary>Bytes of a request's first line; more are 414.</summary>
    public int RequestLineBytes { get; init; } = 8 * 1024;

    /// <summary>Bytes of a connection that are taken from the network before anybody asks for them.</summary>
    public int AheadBytes { get; init; } = 64 * 1024;

    /// <summary>How long the headers of a request may take; longer is 408.</summary>
    public TimeSpan HeaderTime { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a connection may be idle between two requests.</summary>
    public TimeSpan IdleTime { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Bytes a second, on average, that a body and the reading of an answer must reach, after <see cref="RateGrace"/>; slower is
    /// 408.</summary>
    public int BytesPerSecond { get; init; } = 1_024;

    /// <summary>How long a body may be slower.</summary>
    public TimeSpan RateGrace { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a body may take, whatever its rate; longer is 408.</summary>
    public TimeSpan BodyTime { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Bytes of all bodies that are being read and verified; what would need more is 503.</summary>
    public long BytesInReading { get; init; } = 64L * 1024 * 1024;

    /// <summary>How long an event may wait for its commit; longer is 503, and it may have been stored.</summary>
    public TimeSpan StoreTime { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Sets Kestrel's part.</summary>
    public void Apply(KestrelServerLimits kestrel)
    {
        var rate = new MinDataRate(BytesPerSecond, RateGrace);
        kestrel.MaxConcurrentConnections = Connections;
        kestrel.MaxConcurrentUpgradedConnections = 0;
        kestrel.MaxRequestHeaderCount = Headers;
        kestrel.MaxRequestHeadersTotalSize = HeaderBytes;
        kestrel.MaxRequestLineSize = RequestLineBytes;
        kestrel.MaxRequestBufferSize = AheadBytes;
        kestrel.MaxResponseBufferSize = AheadBytes;
        kestrel.MaxRequestBodySize = WebhookSourceOptionsValidator.MaxBodyBytes;
        kestrel.RequestHeadersTimeout = HeaderTime;
        kestrel.KeepAliveTimeout = IdleTime;
        kestrel.MinRequestBodyDataRate = rate;
        kestrel.MinResponseDataRate = rate;
    }
}
