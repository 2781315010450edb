using System.Data.Common;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Payments.Jobs.Importing;
using Payments.Jobs.Maintenance;
using Payments.Jobs.Reconciling;
using Payments.Jobs.Reporting;
using Payments.Jobs.Settling;
using Payments.Jobs.Storage;
using Payments.Jobs.Webhooks;
using Scheduler.Runs;
using Scheduler.Sqlite;
using Scheduler.Webhooks.Processing;

namespace Payments.Jobs;

/// <summary>Registers what the payments jobs need.</summary>
public static class PaymentsServices
{
    /// <summary>
    /// Adds the services of the jobs in this assembly. <see cref="PruneOptions"/>, <see cref="PruneInboxOptions"/> and a
    /// <see cref="TimeProvider"/> that are registered already are used. Nothing is opened or created before the first job runs.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="options">Where the jobs find and leave things.</param>
    /// <exception cref="OptionsValidationException">Options are wrong; all errors, each with key and value.</exception>
    public static IServiceCollection AddPayments(this IServiceCollection services, PaymentsOptions options)
    {
        ArgumentNullException.ThrowIfNull(services);
        var problems = PaymentsOptionsValidator.Validate(options).ToList();
        if (problems.Count > 0)
        {
            throw new OptionsValidationException(PaymentsOptions.Section, typeof(PaymentsOptions), problems);
        }
        services.AddLogging();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton(new PruneOptions());
        services.TryAddSingleton(new PruneInboxOptions());
        services.AddSingleton(options);
        services.AddSingleton(_ => OpenDatabase(options));
        services.AddSingleton(p => new PaymentWriter(p.GetRequiredService<PaymentsDatabase>(), Time(p)));
        services.AddSingleton(p => new Inbox(options, Time(p)));
        services.AddSingleton(p => new PaymentImporter(
            p.GetRequiredService<Inbox>(),
            p.GetRequiredService<PaymentWriter>(),
            options,
            Logger<PaymentImporter>(p)
        ));
        services.AddSingleton(p => new PayoutSettler(p.GetRequiredService<PaymentsDatabase>(), Time(p), Logger<PayoutSettler>(p)));
        services.AddSingleton(p => new SalesExporter(p.GetRequiredService<PaymentsDatabase>(), options, Time(p), Logger<SalesExporter>(p)));
        services.AddSingleton(p => new PaymentReconciler(
            p.GetRequiredService<IState>(),
            p.GetRequiredService<PaymentsDatabase>(),
            options,
            Time(p),
            Logger<PaymentReconciler>(p)
        ));
        services.AddSingleton(p => new EffectPruner(p.GetRequiredService<PaymentsDatabase>(), Logger<EffectPruner>(p)));
        services.AddSingleton(p => new PaymentsOverview(p.GetRequiredService<PaymentsDatabase>(), DatabasePath(options)));
        services.AddSingleton(p => new SampleInput(p.GetRequiredService<PaymentsDatabase>(), options, Time(p), Logger<SampleInput>(p)));
        return services;
    }

    /// <summary>Adds the handlers of the webhook source <c>payments</c>.</summary>
    /// <param name="services">The host's services, with <see cref="AddPayments"/>.</param>
    public static IServiceCollection AddPaymentWebhooks(this IServiceCollection services)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddWebhookHandler<PaymentSucceededHandler, PaymentSucceeded>("payments", PaymentSucceeded.Type);
        services.AddWebhookHandler<PaymentRefundedHandler, PaymentRefunded>("payments", PaymentRefunded.Type);
        return services;
    }

    private static PaymentsDatabase OpenDatabase(PaymentsOptions options)
    {
        var place = new Place("payments database", DatabasePath(options), "Payments:Database");
        return new PaymentsDatabase(SqliteDatabase.Create(options.Database), place);
    }

    private static string DatabasePath(PaymentsOptions options) =>
        (string)new DbConnectionStringBuilder { ConnectionString = options.Database }["Data Source"];

    private static TimeProvider Time(IServiceProvider provider) => provider.GetRequiredService<TimeProvider>();

    private static ILogger<T> Logger<T>(IServiceProvider provider) => provider.GetRequiredService<ILogger<T>>();
}
