using System.Globalization;
using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>How a hand-written receiver keeps what comes.</summary>
internal enum FloorKind
{
    /// <summary>Not at all.</summary>
    Nothing,

    /// <summary>One <c>INSERT … ON CONFLICT</c> and commit for each request.</summary>
    Rows,

    /// <summary>One writer that puts all that waits into one commit.</summary>
    OneWriter,

    /// <summary>Two of them, each with a connection of its own.</summary>
    TwoWriters,
}

/// <summary>How one hand-written receiver is set up.</summary>
/// <param name="Kind">How it keeps what comes.</param>
/// <param name="Port">Where it listens.</param>
/// <param name="State">The database: <c>postgres</c> or <c>sqlite</c>.</param>
/// <param name="Address">Its connection string, or the file.</param>
internal sealed record FloorSetup(FloorKind Kind, int Port, string State, string Address)
{
    public string Url => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{Port}");
}

/// <summary>The least that receives webhooks, as a process of its own: one endpoint on Kestrel.</summary>
internal static class FloorServer
{
    public const string ChildCommand = "webhook-floor";

    private static readonly byte[] Accepted = """{"status":"accepted"}"""u8.ToArray();
    private static readonly byte[] Duplicate = """{"status":"duplicate"}"""u8.ToArray();

    /// <summary>Starts one and returns at once; it says "ready".</summary>
    public static Child Start(FloorSetup setup) => Child.Start([ChildCommand, JsonSerializer.Serialize(setup)], WebhookReplica.Environment);

    /// <summary>The child process.</summary>
    public static async Task RunChildAsync(string text)
    {
        var setup = JsonSerializer.Deserialize<FloorSetup>(text)!;
        await using var inbox = await OpenAsync(setup);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Loopback, setup.Port);
        });
        await using var app = builder.Build();
        app.MapPost("/webhooks/{source}", context => ReceiveAsync(context, inbox));
        await app.StartAsync();
        Console.WriteLine("ready");
        // Until the parent is gone.
        await Child.HearAsync();
    }

    private static ValueTask<IRawInbox> OpenAsync(FloorSetup setup) =>
        setup switch
        {
            { Kind: FloorKind.Nothing } => new(new NoInbox()),
            { State: "postgres" } => PostgresRawInbox.OpenAsync(setup),
            _ => new(new SqliteRawInbox(setup)),
        };

    private static async Task ReceiveAsync(HttpContext context, IRawInbox inbox)
    {
        if (await RawIntake.ReadAsync(context.Request) is not { } received)
        {
            context.Response.StatusCode = StatusCodes.Status401Unauthorized;
            return;
        }
        var isNew = await inbox.AddAsync(received);
        var answer = isNew ? Accepted : Duplicate;
        context.Response.StatusCode = isNew ? StatusCodes.Status202Accepted : StatusCodes.Status200OK;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = answer.Length;
        await context.Response.Body.WriteAsync(answer);
    }
}

/// <summary>What a hand-written receiver keeps events in. Thread-safe.</summary>
internal interface IRawInbox : IAsyncDisposable
{
    /// <summary>Stores an event durably.</summary>
    /// <returns>Whether its key was new.</returns>
    ValueTask<bool> AddAsync(RawEvent received);
}

/// <summary>Keeps nothing.</summary>
internal sealed class NoInbox : IRawInbox
{
    public ValueTask<bool> AddAsync(RawEvent received) => new(true);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
