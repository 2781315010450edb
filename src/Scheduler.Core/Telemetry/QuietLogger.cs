using Microsoft.Extensions.Logging;

namespace Scheduler.Telemetry;

/// <summary>
/// A logger that never throws: the loops that keep leases alive, drop grants and probe the store log from where an exception would end
/// them, and the framework's logger passes on what its providers throw (a full disk, a closed sink). Thread-safe.
/// </summary>
internal sealed class QuietLogger(ILogger inner) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => inner.BeginScope(state);

    public bool IsEnabled(LogLevel logLevel)
    {
        try
        {
            return inner.IsEnabled(logLevel);
        }
#pragma warning disable CA1031, RCS1075 // Where logging fails there is nowhere to say so.
        catch (Exception)
#pragma warning restore CA1031, RCS1075
        {
            return false;
        }
    }

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    )
    {
        try
        {
            inner.Log(logLevel, eventId, state, exception, formatter);
        }
#pragma warning disable CA1031, RCS1075 // Where logging fails there is nowhere to say so.
        catch (Exception)
#pragma warning restore CA1031, RCS1075
        {
            // A line is not worth a lease.
        }
    }
}
