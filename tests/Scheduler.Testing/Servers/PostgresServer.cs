using System.Diagnostics;
using System.Globalization;
using Npgsql;

namespace Scheduler.Testing.Servers;

/// <summary>
/// A real PostgreSQL server for tests: a process of its own on a free port of the loopback address with a folder of its own, or (only by
/// <see cref="SharedAsync"/>) the running one that the environment variable SCHEDULER_TEST_POSTGRES names. Never skips.
/// </summary>
public sealed class PostgresServer : IAsyncDisposable
{
    /// <summary>Names a running server by a connection string of Npgsql for a superuser; tests that stop, freeze or set up a server
    /// otherwise still start one of their own.</summary>
    public const string EnvironmentVariable = "SCHEDULER_TEST_POSTGRES";

    /// <summary>The superuser of servers that are started here.</summary>
    public const string User = "postgres";

    /// <summary>The superuser's password.</summary>
    public const string Password = "test-secret-8271";

    private const string Install = "postgresql";
    private const int SigInterrupt = 2;
    private const int SigQuit = 3;
    private static readonly TimeSpan StartBound = TimeSpan.FromSeconds(30);
    private static readonly Lazy<Task<string>> Template = new(MakeTemplateAsync);
    private static readonly Lazy<Task<PostgresServer>> Shared = new(StartOrUseRunningAsync);
    private static int s_databases;

    private readonly string? _folder;
    private readonly string[] _settings;
    private readonly string _connectionString;
    private readonly IReadOnlyDictionary<string, string>? _environment;
    private ServiceProcess? _process;

    private PostgresServer(
        string connectionString,
        string? folder,
        string[] settings,
        IReadOnlyDictionary<string, string>? environment = null
    )
    {
        _connectionString = connectionString;
        _folder = folder;
        _settings = settings;
        _environment = environment;
        var builder = new NpgsqlConnectionStringBuilder(connectionString);
        (Host, Port) = (builder.Host!, builder.Port);
    }

    /// <summary>Where it listens.</summary>
    public string Host { get; }

    /// <summary>Where it listens; stays the same over restarts.</summary>
    public int Port { get; }

    private string Log => Path.Combine(_folder ?? throw NotOurs(), "server.log");

    /// <summary>One server for all tests that leave it as it is: each takes a database of its own. Ends with the test run.</summary>
    public static Task<PostgresServer> SharedAsync() => Shared.Value;

    /// <summary>Starts a server of one's own and waits until it answers.</summary>
    /// <param name="settings">Settings of the server, for example <c>fsync=off</c>.</param>
    public static Task<PostgresServer> StartAsync(params string[] settings) => StartAsync(environment: null, settings);

    /// <summary>The same with variables of its environment.</summary>
    /// <param name="environment">For example those of a <see cref="SteppedClock"/>.</param>
    /// <param name="settings">Settings of the server, for example <c>fsync=off</c>.</param>
    public static async Task<PostgresServer> StartAsync(IReadOnlyDictionary<string, string>? environment, params string[] settings)
    {
        for (var attempt = 1; ; attempt++)
        {
            var folder = await ServiceProcess.FolderAsync("scheduler-postgres-");
            var port = FreePort.Next();
            await ServiceProcess.RunAsync("/bin/cp", "-a", await Template.Value, Path.Combine(folder, "data"));
            var server = new PostgresServer(
                string.Create(CultureInfo.InvariantCulture, $"Host=127.0.0.1;Port={port};Username={User};Password={Password}"),
                folder,
                settings,
                environment
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

    /// <summary>The newest installed server's programs.</summary>
    public static string Program(string name)
    {
        var newest = Directory.Exists("/usr/lib/postgresql")
            ? Directory
                .EnumerateDirectories("/usr/lib/postgresql")
                .Where(folder => File.Exists(Path.Combine(folder, "bin", "postgres")))
                .MaxBy(folder => int.Parse(Path.GetFileName(folder), CultureInfo.InvariantCulture))
            : null;
        return newest is null
            ? throw new InvalidOperationException(
                $"This test needs a PostgreSQL server. Install it with: sudo apt-get install -y {Install}"
            )
            : Path.Combine(newest, "bin", name);
    }

    /// <summary>Makes an empty database.</summary>
    /// <returns>The superuser's connection string for it.</returns>
    public async Task<string> CreateDatabaseAsync()
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"test_{Environment.ProcessId}_{Interlocked.Increment(ref s_databases)}");
        await ExecuteAsync($"CREATE DATABASE {name}");
        return ConnectionString(name);
    }

    /// <summary>Deletes a database of a test where it would stay: on a server that is not this run's own.</summary>
    public async Task ForgetDatabaseAsync(string connectionString)
    {
        if (_folder is null)
        {
            var name = new NpgsqlConnectionStringBuilder(connectionString).Database;
            await ExecuteAsync($"DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        }
    }

    /// <summary>The superuser's connection string for a database.</summary>
    public string ConnectionString(string database) =>
        new NpgsqlConnectionStringBuilder(_connectionString) { Database = database }.ConnectionString;

    /// <summary>Executes statements as the superuser over a connection of their own.</summary>
    public async Task ExecuteAsync(string sql, string database = "postgres")
    {
        await using var connection = await ConnectAsync(database);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>Asks for one value as the superuser.</summary>
    public async Task<T> AskAsync<T>(string sql, string database = "postgres")
    {
        await using var connection = await ConnectAsync(database);
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync())!;
    }

    /// <summary>Ends the server in the ordinary way: sessions are cut, what is committed stays.</summary>
    public async Task StopAsync()
    {
        Own().Signal(SigInterrupt);
        await Own().EndedAsync();
    }

    /// <summary>Ends the server at once, as a crash does: it recovers at its next start.</summary>
    public async Task KillAsync()
    {
        Own().Signal(SigQuit);
        await Own().EndedAsync();
    }

    /// <summary>Stops all its processes in their tracks: connections stay open and nothing answers.</summary>
    public void Freeze() => Own().Freeze();

    /// <summary>Lets a frozen server go on.</summary>
    public void Thaw() => Own().Thaw();

    /// <summary>Starts the stopped (else first killed) server again on its port, with its data.</summary>
    public async Task RestartAsync()
    {
        if (!Own().HasExited)
        {
            await KillAsync();
        }
        await StartProcessAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is { } process)
        {
            if (!process.HasExited)
            {
                process.Thaw();
                await KillAsync();
            }
            process.Dispose();
            _process = null;
        }
        if (_folder is not null && Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private static async Task<PostgresServer> StartOrUseRunningAsync()
    {
        if (Environment.GetEnvironmentVariable(EnvironmentVariable) is not { Length: > 0 } named)
        {
            var own = await StartAsync("max_connections=300");
            ServiceProcess.AtExit(() => own.Own().Signal(SigQuit), own._folder!);
            return own;
        }
        var server = new PostgresServer(named, folder: null, []);
        await server.WaitUntilItAnswersAsync();
        return server;
    }

    private static async Task<string> MakeTemplateAsync()
    {
        var folder = await ServiceProcess.FolderAsync("scheduler-postgres-template-");
        ServiceProcess.AtExit(static () => { }, folder);
        var secret = Path.Combine(folder, "password");
        await File.WriteAllTextAsync(secret, Password);
        await ServiceProcess.OwnAsync(folder);
        var data = Path.Combine(folder, "data");
        string[] arguments =
        [
            "-D",
            data,
            "-U",
            User,
            "--pwfile",
            secret,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ];
        await ServiceProcess.RunAsync(Program("initdb"), arguments);
        return data;
    }

    private async Task<NpgsqlConnection> ConnectAsync(string database)
    {
        var builder = new NpgsqlConnectionStringBuilder(_connectionString)
        {
            Database = database,
            Pooling = false,
            Timeout = 10,
        };
        var connection = new NpgsqlConnection(builder.ConnectionString);
        await connection.OpenAsync();
        return connection;
    }

    private async Task StartProcessAsync()
    {
        _process?.Dispose();
        string[] settings =
        [
            string.Create(CultureInfo.InvariantCulture, $"port={Port}"),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            .. _settings,
        ];
        _process = ServiceProcess.Start(
            Program("postgres"),
            Install,
            _folder!,
            Log,
            _environment ?? Enumerable.Empty<KeyValuePair<string, string>>(),
            ["-D", Path.Combine(_folder!, "data"), .. settings.SelectMany(s => new[] { "-c", s })]
        );
        await WaitUntilItAnswersAsync();
    }

    private async Task WaitUntilItAnswersAsync()
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                await using (await ConnectAsync("postgres"))
                {
                    return;
                }
            }
            catch (Exception cause) when (cause is NpgsqlException or TimeoutException)
            {
                if (_process is { HasExited: true } ended)
                {
                    throw new InvalidOperationException(
                        $"PostgreSQL ended with code {ended.ExitCode}: {await File.ReadAllTextAsync(Log)}",
                        cause
                    );
                }
                if (watch.Elapsed > StartBound)
                {
                    throw new InvalidOperationException(
                        $"PostgreSQL at {Host}:{Port} does not answer within {StartBound.TotalSeconds} s.",
                        cause
                    );
                }
            }
            await Eventually.Passes(TimeSpan.FromMilliseconds(20));
        }
    }

    private ServiceProcess Own() => _process ?? throw NotOurs();

    private InvalidOperationException NotOurs() =>
        new(
            $"The PostgreSQL at {Host}:{Port} is not this test's own process; start one with {nameof(PostgresServer)}.{nameof(StartAsync)}."
        );
}
