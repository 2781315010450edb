using System.Globalization;
using Scheduler.Worker.Configuration;
using Serilog;
using Serilog.Configuration;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting.Json;
using Serilog.Parsing;

namespace Scheduler.Worker.Hosting;

/// <summary>Where log lines go: short ones to the console, all their properties as JSON to a bounded set of files.</summary>
internal static class LogSetup
{
    private const int HostedServiceStartupFaulted = 11;

    internal const string Template = "{Timestamp:HH:mm:ss.fff} {Level:u3} {Replica}{Run} {Message:lj}{NewLine}";

    /// <summary>Makes the logger.</summary>
    /// <param name="options">What is logged, and to which files.</param>
    /// <param name="replicaName">Goes into each line and into the names of the files.</param>
    /// <param name="time">For the age of old files.</param>
    /// <param name="console">Instead of the console.</param>
    /// <exception cref="SettingsException">The folder cannot be written to.</exception>
    public static Logger Create(LogOptions options, string replicaName, TimeProvider time, ILogEventSink? console = null)
    {
        var logger = new LoggerConfiguration()
            .MinimumLevel.Is(options.Level)
            .MinimumLevel.Override("Quartz", LogEventLevel.Warning)
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // The command says why the host did not start, once and without a stack trace where an operator can mend it.
            .Filter.ByExcluding(IsStartFailure)
            .Enrich.WithProperty("Replica", replicaName)
            .Enrich.With<RunEnricher>();
        if (console is null)
        {
            // A warning says its cause in its message; the stack trace is for defects, and in the files always.
            logger.WriteTo.Conditional(e => e.Level < LogEventLevel.Error, c => Console(c, Template));
            logger.WriteTo.Conditional(e => e.Level >= LogEventLevel.Error, c => Console(c, Template + "{Exception}"));
        }
        else
        {
            logger.WriteTo.Sink(console);
        }
        if (options.Folder is { Length: > 0 } folder)
        {
            PrepareFolder(folder, options.KeepFiles, time);
            logger.WriteTo.File(
                new JsonFormatter(renderMessage: true),
                Path.Combine(folder, $"scheduler-{replicaName}.log"),
                fileSizeLimitBytes: options.MaxFileBytes,
                rollOnFileSizeLimit: true,
                retainedFileCountLimit: options.MaxFiles
            );
        }
        return logger.CreateLogger();
    }

    private static void PrepareFolder(string folder, TimeSpan keep, TimeProvider time)
    {
        try
        {
            Directory.CreateDirectory(folder);
            using (File.Create(Path.Combine(folder, $".probe-{Environment.ProcessId}"), 1, FileOptions.DeleteOnClose)) { }
            // A replica without a fixed name has files of its own at every start; nobody else would ever delete them.
            var oldest = (time.GetUtcNow() - keep).UtcDateTime;
            foreach (var file in Directory.EnumerateFiles(folder, "scheduler-*.log").Where(f => File.GetLastWriteTimeUtc(f) < oldest))
            {
                File.Delete(file);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException([
                $"Logs:Folder is '{folder}', which cannot be written to ({e.Message}); allow it to this user, or set it to \"\" "
                    + "for the console alone.",
            ]);
        }
    }

    private static void Console(LoggerSinkConfiguration sinks, string template) =>
        sinks.Console(outputTemplate: template, formatProvider: CultureInfo.InvariantCulture);

    private static bool IsStartFailure(LogEvent logEvent) =>
        logEvent.Properties.TryGetValue("SourceContext", out var source)
        && source is ScalarValue { Value: "Microsoft.Extensions.Hosting.Internal.Host" }
        && logEvent.Properties.TryGetValue("EventId", out var id)
        && id is StructureValue { Properties: var parts }
        && parts.Any(p => p is { Name: "Id", Value: ScalarValue { Value: HostedServiceStartupFaulted } });

    /// <summary>
    /// Puts what the scope of a run says into one property, so that lines outside of runs stay short, and says nothing twice: what the
    /// message itself shows is left out.
    /// </summary>
    internal sealed class RunEnricher : ILogEventEnricher
    {
        public void Enrich(LogEvent logEvent, ILogEventPropertyFactory propertyFactory)
        {
            if (!logEvent.Properties.ContainsKey("Occurrence"))
            {
                return;
            }
            var shown = logEvent
                .MessageTemplate.Tokens.OfType<PropertyToken>()
                .Select(t => t.PropertyName)
                .ToHashSet(StringComparer.Ordinal);
            var parts = new[] { ("Occurrence", ""), ("Attempt", "attempt "), ("Token", "token ") }
                .Where(p => !shown.Contains(p.Item1) && logEvent.Properties.ContainsKey(p.Item1))
                .Select(p => p.Item2 + Text(logEvent.Properties[p.Item1]))
                .ToList();
            if (parts.Count > 0)
            {
                logEvent.AddPropertyIfAbsent(new LogEventProperty("Run", new ScalarValue($" [{string.Join(' ', parts)}]")));
            }
        }

        private static string Text(LogEventPropertyValue value) =>
            value is ScalarValue { Value: { } scalar } ? string.Create(CultureInfo.InvariantCulture, $"{scalar}") : value.ToString();
    }
}
