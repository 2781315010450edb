using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Scheduler.Testing.Servers;

/// <summary>What a Redis server keeps over a restart.</summary>
public enum RedisPersistence
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>A snapshot, written by <see cref="RedisServer.StopAsync"/> only.</summary>
    Snapshot,

    /// <summary>An append-only file that is synced once a second.</summary>
    AppendEverySecond,

    /// <summary>An append-only file that is synced before every answer.</summary>
    AppendAlways,
}

/// <summary>How a test's Redis server is set up.</summary>
public sealed record RedisServerOptions
{
    /// <summary>What it keeps over a restart.</summary>
    public RedisPersistence Persistence { get; init; }

    /// <summary>Its password, or <see langword="null"/> for none.</summary>
    public string? Password { get; init; }

    /// <summary>Further arguments of redis-server, for example <c>--maxmemory-policy allkeys-lru</c> as two items.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Variables of its environment, for example for faketime.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);
}

/// <summary>
/// A real Redis server for a test: a process of its own on a free port of the loopback address with a folder of its own, or (only by
/// <see cref="StartOrUseRunningAsync"/>) the running one that the environment variable SCHEDULER_TEST_REDIS names. Never skips.
/// </summary>
public sealed partial class RedisServer : IAsyncDisposable
{
    /// <summary>Names a running server as <c>host:port</c>; tests that stop or freeze a server still start one of their own.</summary>
    public const string EnvironmentVariable = "SCHEDULER_TEST_REDIS";

    private const int SigKill = 9;
    private const int SigTerm = 15;
    private const int SigContinue = 18;
    private const int SigStop = 19;
    private static readonly TimeSpan StartBound = TimeSpan.FromSeconds(20);

    private readonly RedisServerOptions _options;
    private readonly string? _folder;
    private Process? _process;

    private RedisServer(RedisServerOptions options, string host, int port, string? folder)
    {
        _options = options;
        _folder = folder;
        Host = host;
        Port = port;
    }

    /// <summary>Where it listens.</summary>
    public string Host { get; }

    /// <summary>Where it listens; stays the same over restarts.</summary>
    public int Port { get; }

    /// <summary><c>host:port</c>.</summary>
    public string Endpoint => string.Create(CultureInfo.InvariantCulture, $"{Host}:{Port}");

    /// <summary>Endpoint and, where it has one, the password, as StackExchange.Redis reads them.</summary>
    public string ConnectionString => _options.Password is { } password ? $"{Endpoint},password={password}" : Endpoint;

    /// <summary>Whether it runs somewhere else and cannot be stopped or frozen by a test.</summary>
    public bool IsExternal => _folder is null;

    /// <summary>Starts a server process and waits until it answers.</summary>
    public static async Task<RedisServer> StartAsync(RedisServerOptions? options = null)
    {
        for (var attempt = 1; ; attempt++)
        {
            var server = new RedisServer(
                options ?? new RedisServerOptions(),
                "127.0.0.1",
                FreePort.Next(),
                Directory.CreateTempSubdirectory("scheduler-redis-").FullName
            );
            try
            {
                await server.StartProcessAsync();
                return server;
            }
            // Between finding a free port and listening on it, another process may have taken it.
            catch (InvalidOperationException) when (attempt < 3 && server._process is { HasExited: true })
            {
                await server.DisposeAsync();
            }
        }
    }

    /// <summary>Takes the running server that the environment variable names, as it is set up, else starts one.</summary>
    public static async Task<RedisServer> StartOrUseRunningAsync(RedisServerOptions? options = null)
    {
        if (System.Environment.GetEnvironmentVariable(EnvironmentVariable) is not { Length: > 0 } named)
        {
            return await StartAsync(options);
        }
        var colon = named.LastIndexOf(':');
        if (colon < 1 || !int.TryParse(named[(colon + 1)..], CultureInfo.InvariantCulture, out var port))
        {
            throw new InvalidOperationException(
                $"{EnvironmentVariable} is '{named}'; host:port of a running Redis is allowed, or nothing."
            );
        }
        var server = new RedisServer(new RedisServerOptions(), named[..colon], port, folder: null);
        await server.WaitUntilItAnswersAsync();
        return server;
    }

    /// <summary>Sends one command over a connection of its own and gives the answer as text; an array as lines.</summary>
    /// <exception cref="InvalidOperationException">The server answered with an error.</exception>
    public async Task<string> CommandAsync(params string[] words)
    {
        using var client = new TcpClient { NoDelay = true };
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10), TimeProvider.System);
        await client.ConnectAsync(Host, Port, limit.Token);
        var stream = client.GetStream();
        if (_options.Password is { } password)
        {
            await RespText.AskAsync(stream, ["AUTH", password], limit.Token);
        }
        return await RespText.AskAsync(stream, words, limit.Token);
    }

    /// <summary>Ends the server in the ordinary way and waits for its end; a <see cref="RedisPersistence.Snapshot"/> is written.</summary>
    public async Task StopAsync()
    {
        if (_options.Persistence == RedisPersistence.Snapshot && Own() is { HasExited: false })
        {
            await CommandAsync("SAVE");
        }
        Signal(SigTerm);
        await EndedAsync();
    }

    /// <summary>Ends the server at once, as a crash does, and waits for its end.</summary>
    public async Task KillAsync()
    {
        Signal(SigKill);
        await EndedAsync();
    }

    /// <summary>Stops the process in its tracks: connections stay open and nothing answers.</summary>
    public void Freeze() => Signal(SigStop);

    /// <summary>Lets a frozen process go on.</summary>
    public void Thaw() => Signal(SigContinue);

    /// <summary>Starts the stopped (else first killed) server again on its port.</summary>
    /// <param name="keepData">Whether what its persistence wrote stays.</param>
    public async Task RestartAsync(bool keepData)
    {
        if (!Own().HasExited)
        {
            await KillAsync();
        }
        if (!keepData)
        {
            Directory.Delete(_folder!, recursive: true);
            Directory.CreateDirectory(_folder!);
        }
        await StartProcessAsync();
    }

    /// <summary>What the server logged.</summary>
    public string ReadLog() => File.Exists(LogFile) ? File.ReadAllText(LogFile) : string.Empty;

    public async ValueTask DisposeAsync()
    {
        if (_process is { } process)
        {
            await KillAsync();
            process.Dispose();
            _process = null;
        }
        if (_folder is not null && Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private string LogFile => Path.Combine(_folder ?? throw NotOurs(), "redis.log");

    private async Task StartProcessAsync()
    {
        var start = new ProcessStartInfo("redis-server") { WorkingDirectory = _folder!, UseShellExecute = false };
        foreach (var argument in Arguments())
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var (name, value) in _options.Environment)
        {
            start.Environment[name] = value;
        }
        _process?.Dispose();
        try
        {
            _process = Process.Start(start)!;
        }
        catch (Win32Exception cause)
        {
            throw new InvalidOperationException(
                "This test needs redis-server. Install it with: sudo apt-get install -y redis-server",
                cause
            );
        }
        KillAtExit(_process);
        await WaitUntilItAnswersAsync();
    }

    private List<string> Arguments()
    {
        List<string> arguments =
        [
            "--port",
            Port.ToString(CultureInfo.InvariantCulture),
            "--bind",
            Host,
            "--dir",
            _folder!,
            "--logfile",
            LogFile,
            "--save",
            "",
            "--daemonize",
            "no",
        ];
        if (_options.Persistence is RedisPersistence.AppendEverySecond or RedisPersistence.AppendAlways)
        {
            arguments.AddRange([
                "--appendonly",
                "yes",
                "--appendfsync",
                _options.Persistence == RedisPersistence.AppendAlways ? "always" : "everysec",
            ]);
        }
        if (_options.Password is { } password)
        {
            arguments.AddRange(["--requirepass", password]);
        }
        arguments.AddRange(_options.Arguments);
        return arguments;
    }

    private async Task WaitUntilItAnswersAsync()
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            Exception? cause = null;
            try
            {
                if (await IsOursAsync())
                {
                    return;
                }
            }
            // LOADING is an error answer that passes; everything else must pass within the bound too.
            catch (Exception failed)
                when (failed is SocketException or IOException or OperationCanceledException or InvalidOperationException)
            {
                cause = failed;
            }
            if (_process is { HasExited: true } ended)
            {
                throw new InvalidOperationException($"redis-server ended with code {ended.ExitCode} at start: {ReadLog()}", cause);
            }
            if (watch.Elapsed > StartBound)
            {
                throw new InvalidOperationException($"Redis at {Endpoint} does not answer within {StartBound.TotalSeconds} s.", cause);
            }
            await Eventually.Passes(TimeSpan.FromMilliseconds(10));
        }
    }

    // Another server may have taken the port in the meantime; then our process ends by itself.
    private async Task<bool> IsOursAsync() =>
        _process is not { } process
            ? await CommandAsync("PING") == "PONG"
            : (await CommandAsync("INFO", "server")).Contains(
                string.Create(CultureInfo.InvariantCulture, $"process_id:{process.Id}\r"),
                StringComparison.Ordinal
            );

    private async Task EndedAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20), TimeProvider.System);
        await Own().WaitForExitAsync(limit.Token);
    }

    private Process Own() => _process ?? throw NotOurs();

    private InvalidOperationException NotOurs() =>
        new($"The Redis at {Endpoint} is not this test's own process; start one with {nameof(RedisServer)}.{nameof(StartAsync)}.");

    private void Signal(int signal)
    {
        var process = Own();
        if (!process.HasExited && Kill(process.Id, signal) != 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"Signal {signal} did not reach redis-server {process.Id}.");
        }
    }

    // A test run that ends in the middle leaves no server behind.
    private static void KillAtExit(Process process) =>
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            try
            {
                process.Kill();
            }
            catch (InvalidOperationException)
            {
                // It has ended, or its object was disposed of after its end.
            }
        };

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Kill(int processId, int signal);
}
