using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;

namespace Scheduler.Webhooks.Processing;

/// <summary>Which handler takes which events. Immutable once the host has started; thread-safe.</summary>
public sealed class WebhookRoutes
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { MaxDepth = 64 };

    private readonly Dictionary<(string Source, string Type), Route> _routes;

    internal WebhookRoutes(IEnumerable<WebhookRoute> routes)
    {
        _routes = [];
        foreach (var route in routes)
        {
            if (!_routes.TryAdd((route.Source.ToUpperInvariant(), route.Type), route.Handle))
            {
                throw new ArgumentException($"Two handlers take the type '{route.Type}' of the source '{route.Source}'.", nameof(routes));
            }
        }
    }

    internal delegate ValueTask<WebhookResult> Route(
        IServiceProvider services,
        ReadOnlyMemory<byte> body,
        WebhookEvent received,
        CancellationToken cancellationToken
    );

    /// <summary>Whether a handler takes events of a source and type.</summary>
    /// <param name="source">The source's name.</param>
    /// <param name="type">The event's type; an event without one has the type "".</param>
    public bool Has(string source, string? type) => _routes.ContainsKey((source.ToUpperInvariant(), type ?? ""));

    /// <summary>The types of a source that a handler takes.</summary>
    internal IEnumerable<string> TypesOf(string source)
    {
        var name = source.ToUpperInvariant();
        return _routes.Keys.Where(k => k.Source == name).Select(k => k.Type);
    }

    internal Route? Find(string source, string? type) => _routes.GetValueOrDefault((source.ToUpperInvariant(), type ?? ""));

    internal static Route To<THandler, T>()
        where THandler : class, IWebhookHandler<T> =>
        static async (services, body, received, cancellationToken) =>
        {
            var payload = Read<T>(body.Span);
            var handler = ActivatorUtilities.GetServiceOrCreateInstance<THandler>(services);
            return await handler.HandleAsync(payload, received, cancellationToken);
        };

    // The reader's own words may quote what is in the body.
    private static T Read<T>(ReadOnlySpan<byte> body)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(body, Json) ?? throw new UnreadableBodyException($"the body is null, no {typeof(T).Name}");
        }
        catch (JsonException problem)
        {
            throw new UnreadableBodyException($"the body is no {typeof(T).Name}: {Place(problem)}");
        }
    }

    /// <summary>Where a text is no JSON of the right form, and nothing that is in it.</summary>
    internal static string Place(JsonException problem) =>
        string.Create(CultureInfo.InvariantCulture, $"line {problem.LineNumber + 1}, byte {problem.BytePositionInLine + 1}");
}

/// <summary>A body that its handler's type cannot read: trying again does not mend it. The message has nothing of the body.</summary>
internal sealed class UnreadableBodyException(string message) : Exception(message);

/// <summary>One handler of the host's services.</summary>
internal sealed record WebhookRoute(string Source, string Type, WebhookRoutes.Route Handle);

/// <summary>Registers handlers.</summary>
public static class WebhookHandlerExtensions
{
    /// <summary>Lets a handler take the events of a source and type; events of a type that nobody takes are stored as ignored.</summary>
    /// <typeparam name="THandler">The handler; made for each event, in a scope of its own.</typeparam>
    /// <typeparam name="T">What the body reads as.</typeparam>
    /// <param name="services">The host's services.</param>
    /// <param name="source">The source's name, as under <c>Scheduler:Webhooks:Sources</c>.</param>
    /// <param name="type">The event's type; "" for events without one.</param>
    public static IServiceCollection AddWebhookHandler<THandler, T>(this IServiceCollection services, string source, string type)
        where THandler : class, IWebhookHandler<T>
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(source);
        ArgumentNullException.ThrowIfNull(type);
        return services.AddSingleton(new WebhookRoute(source, type, WebhookRoutes.To<THandler, T>()));
    }
}
