using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Options;
using Payments.Jobs;
using Payments.Jobs.Maintenance;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Time;
using Scheduler.Webhooks.Processing;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Ingress;
using Scheduler.Worker.Operations;
using Serilog;

namespace Scheduler.Worker.Hosting;

/// <summary>The only composition root: puts a worker together.</summary>
internal static class WorkerHost
{
    // Says nothing at the levels that are logged, but makes an activity and a scope for each request, which costs more than the delivery's
    // signature. Who listens for traces gets the activities all the same.
    private const string PerRequest = "Microsoft.AspNetCore.Hosting.Diagnostics";

    /// <summary>Builds the host. It owns the logger and the addresses from now on.</summary>
    /// <param name="settings">What the worker was told.</param>
    /// <param name="addresses">Where it listens.</param>
    /// <param name="logger">Where log lines go.</param>
    /// <param name="limits">What a request may take; the defaults where there are none.</param>
    /// <param name="more">Further services, for example webhook handlers that are not among the sample's.</param>
    /// <remarks>
    /// The web server is registered first: it starts before the scheduler and stops after it, so that readiness can be asked for while the
    /// replica starts and while it drains. (WebApplication would start it last and stop it first.)
    /// </remarks>
    public static IHost Build(
        Settings settings,
        BoundAddresses addresses,
        Serilog.ILogger logger,
        IngressLimits? limits = null,
        Action<IServiceCollection>? more = null
    ) =>
        new HostBuilder()
            .UseContentRoot(AppContext.BaseDirectory)
            .ConfigureLogging(logging => logging.ClearProviders().AddSerilog(logger, dispose: true).AddFilter(PerRequest, LogLevel.None))
            .ConfigureServices(services => services.AddSingleton<TimeProvider>(BootTimeProvider.Instance).AddSingleton(settings))
            .ConfigureWebHost(web => ConfigureWeb(web, addresses, limits ?? new IngressLimits()))
            .ConfigureServices(services => AddScheduler(services, settings, addresses))
            .ConfigureServices(services => more?.Invoke(services))
            .UseConsoleLifetime(console => console.SuppressStatusMessages = true)
            .Build();

    /// <summary>The web part alone.</summary>
    public static void ConfigureWeb(IWebHostBuilder web, BoundAddresses addresses, IngressLimits limits) =>
        web.UseKestrel()
            .ConfigureServices(services =>
            {
                // Registered by a factory, so that the container closes the sockets.
                services.AddSingleton(_ => addresses);
                services
                    .AddOptions<KestrelServerOptions>()
                    .Configure<IOptions<SocketTransportOptions>>(
                        (kestrel, sockets) =>
                        {
                            addresses.Use(kestrel, sockets.Value);
                            limits.Apply(kestrel.Limits);
                        }
                    );
                services.AddRouting().AddProblemDetails();
                services.AddSingleton(limits);
                services.AddSingleton<OperationsReader>();
                services.ConfigureHttpJsonOptions(json => OperationsJson.Configure(json.SerializerOptions));
            })
            .Configure(app =>
            {
                // Each address serves its own.
                app.MapWhen(context => addresses.IsIngress(context.Connection.LocalPort), UseIngress);
                app.UseMiddleware<OperationsErrors>();
                app.UseRouting();
                app.UseEndpoints(OperationsEndpoints.Map);
            });

    /// <summary>What serves senders of webhooks.</summary>
    public static void UseIngress(IApplicationBuilder app)
    {
        app.UseMiddleware<IngressErrors>();
        app.UseRouting();
        app.UseEndpoints(WebhookEndpoint.Map);
    }

    private static void AddScheduler(IServiceCollection services, Settings settings, BoundAddresses addresses)
    {
        services.AddSingleton(new PruneOptions { KeepRuns = settings.Scheduler.State.KeepRuns });
        services.AddSingleton(p => new PruneInboxOptions
        {
            KeepBodies = settings.Scheduler.Webhooks.KeepBodies,
            KeepDead = settings.Scheduler.Webhooks.KeepDead,
            KeepKeys = settings.Scheduler.Webhooks.KeepKeys,
            Sources = p.GetService<WebhookSources>() is { } sources ? [.. sources.Names] : [],
            TimedSources = p.GetService<WebhookSources>()?.Timed ?? [],
        });
        services.AddPayments(settings.Payments);
        services.AddQuartz(quartz =>
        {
            // Quartz keeps a process's schedulers apart by name, and shows it in logs and metrics.
            quartz.ConfigureScheduler(options => options.InstanceName = $"replica-{Guid.NewGuid():n}");
            quartz.UseTimeProvider(BootTimeProvider.Instance);
            quartz.UseSingleInstance(settings.Scheduler.Group, builder => Configure(builder, settings, addresses));
        });
        // The group's own stop has waited for the bodies by then; Quartz would wait for one that never ends without a bound.
        services.AddQuartzHostedService(quartz => quartz.WaitForJobsToComplete = false);
        if (settings.Scheduler.Webhooks.Sources.Count > 0)
        {
            var webhooks = settings.Scheduler.Webhooks;
            services.AddPaymentWebhooks();
            var stop = settings.Scheduler.Stop;
            services.AddWebhooks(webhooks.Sources, webhooks.Degree, stop.DrainDelay + stop.Grace, settings.Scheduler.Locks.ToLeases());
            services.AddSingleton<RefusalLog>().AddSingleton<BodyReader>().AddSingleton<WebhookEndpoint>();
            services.AddSingleton<Reexamination>();
            services.AddSingleton(p => new WebhookSources(
                webhooks,
                p.GetRequiredService<WebhookRoutes>(),
                p.GetRequiredService<TimeProvider>()
            ));
        }
        services.AddHostedService<Announcer>();
    }

    private static void Configure(SingleInstanceBuilder builder, Settings settings, BoundAddresses addresses)
    {
        var (scheduler, options) = (settings.Scheduler, builder.Options);
        options.Leases = scheduler.Locks.ToLeases();
        options.ReplicaName = scheduler.Replica.Name;
        options.OperationsUrl = () => addresses.OperationsUrl;
        options.StopGrace = scheduler.Stop.Grace;
        options.DrainDelay = scheduler.Stop.DrainDelay;
        options.MaxClockOffset = scheduler.MaxClockOffset;
        options.RequireAttribute = true;
        Backends.Find(Backends.Locks, scheduler.Locks.Backend)!.Use(builder, scheduler);
        Backends.Find(Backends.State, scheduler.State.Backend)!.Use(builder, scheduler);
        foreach (var job in settings.Jobs)
        {
            builder.AddJob(job);
        }
    }
}
