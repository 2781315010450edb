using Payments.Jobs;
using Scheduler.Jobs;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Worker.Configuration;

/// <summary>The configuration is wrong. The message has one line per error; none shows a secret.</summary>
internal sealed class SettingsException(IReadOnlyList<string> errors)
    : Exception($"{errors.Count} error(s) in the configuration; no job has run:{string.Concat(errors.Select(e => $"\n  - {e}"))}")
{
    public IReadOnlyList<string> Errors { get; } = errors;
}

/// <summary>Everything that a worker was told, read and checked.</summary>
internal sealed record Settings(
    SchedulerOptions Scheduler,
    LogOptions Logs,
    PaymentsOptions Payments,
    IReadOnlyList<JobDefinition> Jobs,
    IReadOnlyList<string> Warnings
)
{
    public const string FileName = "appsettings.json";

    /// <summary>Loads the sources: the file in the folder, else beside the executable; the environment; the command line.</summary>
    /// <exception cref="SettingsException">The file cannot be read.</exception>
    public static IConfiguration Load(string folder, string[] overrides)
    {
        var path = Path.Combine(folder, FileName);
        if (!File.Exists(path))
        {
            path = Path.Combine(AppContext.BaseDirectory, FileName);
        }
        try
        {
            return new ConfigurationBuilder()
                .AddJsonFile(path, optional: true, reloadOnChange: false)
                .AddEnvironmentVariables()
                .AddCommandLine(overrides)
                .Build();
        }
        catch (Exception e) when (e is IOException or InvalidDataException or FormatException or UnauthorizedAccessException)
        {
            // The parser's message has line and position; the text around them is not in it.
            throw new SettingsException([$"{path} cannot be read: {e.InnerException?.Message ?? e.Message}"]);
        }
    }

    /// <summary>Reads and checks everything.</summary>
    /// <exception cref="SettingsException">Something is wrong; all errors together.</exception>
    public static Settings Read(IConfiguration configuration)
    {
        var errors = new List<string>();
        var binder = new StrictBinder(errors);
        var scheduler = binder.Bind<SchedulerOptions>(configuration.GetSection("Scheduler"));
        var logs = binder.Bind<LogOptions>(configuration.GetSection("Logs"));
        var payments = binder.Bind<PaymentsOptions>(configuration.GetSection(PaymentsOptions.Section));
        errors.AddRange(SchedulerOptionsValidator.Validate(scheduler));
        errors.AddRange(SchedulerOptionsValidator.Validate(logs));
        errors.AddRange(PaymentsOptionsValidator.Validate(payments));
        var classes = new JobClasses(scheduler.JobAssemblies, errors);
        var jobs = new JobReader(classes, scheduler.Locks.ToLeases(), errors).Read(scheduler.Jobs);
        if (errors.Count > 0)
        {
            throw new SettingsException(errors.Distinct(StringComparer.Ordinal).ToList());
        }
        return new Settings(scheduler, logs, payments, jobs, Doubts(configuration, scheduler).ToList());
    }

    private static IEnumerable<string> Doubts(IConfiguration configuration, SchedulerOptions scheduler)
    {
        foreach (var key in StrictBinder.LaterKeys.Where(k => HasValue(configuration.GetSection(k))))
        {
            yield return $"{key} does nothing in this version; it is ignored.";
        }
        foreach (var (name, source) in scheduler.Webhooks.Sources)
        {
            foreach (var warning in WebhookSourceOptionsValidator.Warnings(name, source, "Scheduler:Webhooks:Sources"))
            {
                yield return warning;
            }
        }
        var listens = Backends.Find(Backends.State, scheduler.State.Backend) is { Listens: true };
        if (listens && scheduler.Webhooks.Sources.Count > 0 && string.IsNullOrEmpty(scheduler.State.ListenConnectionString))
        {
            yield return "Scheduler:State:ListenConnectionString is not set: what another replica stored is looked for once a second. Set "
                + "it to a way to the same database past every proxy that pools transactions, and it is heard at once.";
        }
        if (scheduler.Jobs.Count == 0)
        {
            yield return "Scheduler:Jobs is empty: nothing will run. Is appsettings.json in the current directory?";
        }
    }

    private static bool HasValue(IConfigurationSection section) =>
        !string.IsNullOrEmpty(section.Value) || section.GetChildren().Any(HasValue);
}
