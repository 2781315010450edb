using System.Globalization;
using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>Turns what the client throws into what an operator can act on: endpoint, reason, remedy, no secret.</summary>
internal sealed class RedisErrors(string endpoint, bool ssl, TimeSpan limit, string? password)
{
    /// <summary>Whether the node does not know the script: it was restarted, or its scripts were flushed.</summary>
    public static bool IsUnknownScript(RedisServerException exception) => IsUnknownScript(exception.Message);

    /// <summary>A permanent problem of the server as it is set up.</summary>
    public StoreUnavailableException Refused(string problem) => new($"Redis at {endpoint} cannot keep locks: {problem}.", permanent: true);

    public Exception Translate(Exception exception)
    {
        if (exception is StoreUnavailableException or OperationCanceledException)
        {
            return exception;
        }
        var (reason, permanent) = Reason(exception);
        return new StoreUnavailableException($"Redis at {endpoint}: {Clean(reason)}.", Safe(exception), permanent: permanent);
    }

    /// <summary>The same for an error that a script's answer carries.</summary>
    public StoreUnavailableException Translate(string answer)
    {
        var (reason, permanent) = ServerReason(answer);
        return new StoreUnavailableException($"Redis at {endpoint}: {Clean(reason)}.", permanent: permanent);
    }

    private (string Reason, bool Permanent) Reason(Exception exception)
    {
        if (exception is RedisServerException answer)
        {
            return ServerReason(answer.Message);
        }
        if (Chain(exception).OfType<RedisConnectionException>().Any(e => e.FailureType == ConnectionFailureType.AuthenticationFailure))
        {
            return ssl
                ? ("the TLS handshake or the login failed; check ssl and sslHost, the certificate, and the password", true)
                : ("it refused the login; check the password (and the user) in the connection string", true);
        }
        return exception switch
        {
            TimeoutException => (string.Create(CultureInfo.InvariantCulture, $"no answer within {limit.TotalMilliseconds:0} ms"), false),
            RedisConnectionException => (
                $"no connection ({Deepest(exception)}); check that the server runs there and that "
                    + (ssl ? "it speaks TLS on this port (ssl=true is set)" : "it does not demand TLS (ssl=true is not set)"),
                false
            ),
            ObjectDisposedException => ("this store was disposed of or its connection was just replaced", false),
            _ => ($"{exception.GetType().Name}: {exception.Message}", false),
        };
    }

    private static (string Reason, bool Permanent) ServerReason(string answer)
    {
        if (IsUnknownScript(answer) || answer.Contains("UNCHECKED", StringComparison.Ordinal))
        {
            return ("it was restarted, flushed or replaced and must be checked before it may grant", false);
        }
        if (StartsWith(answer, "NOAUTH") || StartsWith(answer, "WRONGPASS"))
        {
            return ("it refused the login; check the password (and the user) in the connection string", true);
        }
        if (StartsWith(answer, "NOPERM"))
        {
            return (
                $"the user may not do what locks need ({answer}); allow +@read +@write +@scripting +@pubsub +info and the keys and "
                    + "channels of the group",
                true
            );
        }
        return StartsWith(answer, "READONLY")
            ? ("it is a replica now; name the master", false)
            : ($"it answered with an error: {answer}", false);
    }

    private static bool IsUnknownScript(string answer) => StartsWith(answer, "NOSCRIPT");

    private static bool StartsWith(string answer, string code) => answer.StartsWith(code, StringComparison.Ordinal);

    private static IEnumerable<Exception> Chain(Exception? exception)
    {
        for (var depth = 0; exception is not null && depth < 10; depth++)
        {
            yield return exception;
            if (exception is AggregateException { InnerExceptions.Count: > 1 } several)
            {
                foreach (var inner in several.InnerExceptions.SelectMany(Chain))
                {
                    yield return inner;
                }
                yield break;
            }
            exception = exception.InnerException;
        }
    }

    private static string Deepest(Exception exception) => Chain(exception).Last().Message;

    // The client puts no password into its messages; should a later version do so, nothing of it is passed on.
    private Exception? Safe(Exception exception) =>
        HasSecret && exception.ToString().Contains(password!, StringComparison.Ordinal) ? null : exception;

    private string Clean(string text) =>
        (HasSecret ? text.Replace(password!, "***", StringComparison.Ordinal) : text).ReplaceLineEndings(" ").TrimEnd('.');

    private bool HasSecret => !string.IsNullOrEmpty(password);
}
