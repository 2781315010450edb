using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Scheduler.Testing;

/// <summary>One log entry.</summary>
public sealed record LogEntry(LogLevel Level, EventId Id, string Message, Exception? Exception);

/// <summary>Keeps what was logged. Thread-safe.</summary>
public sealed class LogCapture : ILoggerFactory, ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<LogEntry> _entries = new();

    public IReadOnlyCollection<LogEntry> Entries => _entries;

    public int Count(int eventId) => _entries.Count(e => e.Id.Id == eventId);

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    ) => _entries.Enqueue(new LogEntry(logLevel, eventId, formatter(state, exception), exception));

    public void Dispose() { }
}
