using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Scheduler.Telemetry;

/// <summary>The last lines that are logged while a body runs, by whatever it calls and awaits. Thread-safe.</summary>
/// <param name="limit">How many lines are kept; 1 to <see cref="MaxLines"/>.</param>
/// <param name="time">The clock of the lines.</param>
internal sealed class KeptLog(int limit, TimeProvider time)
{
    /// <summary>How many lines a run may keep.</summary>
    public const int MaxLines = 200;

    /// <summary>How many characters of a line are kept.</summary>
    public const int LongestLine = 500;

    private static readonly AsyncLocal<KeptLog?> Flowing = new();

    private readonly Queue<string> _lines = new();
    private int _dropped;
    private bool _closed;

    /// <summary>That of the body which the caller belongs to.</summary>
    public static KeptLog? Current
    {
        get => Flowing.Value;
        set => Flowing.Value = value;
    }

    /// <summary>Keeps a line. What comes after the end of the body, from tasks that it left behind, is left out.</summary>
    public void Add(LogLevel level, string message)
    {
        var text = string.Create(CultureInfo.InvariantCulture, $"{time.GetUtcNow():HH:mm:ss.fff} {Short(level)} {message}");
        text = text.ReplaceLineEndings(" ");
        lock (_lines)
        {
            if (_closed)
            {
                return;
            }
            if (_lines.Count == limit)
            {
                _lines.Dequeue();
                _dropped++;
            }
            _lines.Enqueue(text.Length <= LongestLine ? text : text[..(LongestLine - 1)] + "…");
        }
    }

    /// <summary>Keeps nothing more.</summary>
    /// <returns>The lines, one below the other; <see langword="null"/> when there are none.</returns>
    public string? Close()
    {
        lock (_lines)
        {
            _closed = true;
            var before = _dropped == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"({_dropped} lines before these)\n");
            return _lines.Count == 0 ? null : before + string.Join('\n', _lines);
        }
    }

    private static string Short(LogLevel level) =>
        level switch
        {
            LogLevel.Critical => "FTL",
            LogLevel.Error => "ERR",
            LogLevel.Warning => "WRN",
            LogLevel.Information => "INF",
            _ => "DBG",
        };
}

/// <summary>Hands what bodies log to the history of their runs, where a job asks for it. Thread-safe.</summary>
/// <remarks>A logger that replaces all providers (<c>Services.AddSerilog</c> without <c>writeToProviders</c>) keeps it from hearing
/// anything.</remarks>
public sealed class KeptLogProvider : ILoggerProvider
{
    /// <inheritdoc/>
    public ILogger CreateLogger(string categoryName) => KeptLogger.Instance;

    /// <inheritdoc/>
    public void Dispose() { }

    private sealed class KeptLogger : ILogger
    {
        public static readonly KeptLogger Instance = new();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel is >= LogLevel.Information and < LogLevel.None && KeptLog.Current is not null;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        )
        {
            ArgumentNullException.ThrowIfNull(formatter);
            if (IsEnabled(logLevel))
            {
                var message = formatter(state, exception);
                KeptLog.Current?.Add(logLevel, exception is null ? message : $"{message} {exception.GetType().Name}: {exception.Message}");
            }
        }
    }
}
