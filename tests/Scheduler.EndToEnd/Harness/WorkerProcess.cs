using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using Scheduler.Testing;
using Scheduler.Testing.History;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Harness;

/// <summary>How one worker process is set up.</summary>
internal sealed record WorkerSetup
{
    /// <summary>The replica's name.</summary>
    public required string Name { get; init; }

    /// <summary>A folder of its own: working directory, configuration file and output.</summary>
    public required string Folder { get; init; }

    /// <summary>Configuration in environment form, for example <c>Scheduler__Group</c>.</summary>
    public required IReadOnlyDictionary<string, string> Settings { get; init; }

    /// <summary>How far its wall clock is off.</summary>
    public TimeSpan ClockOffset { get; init; }

    /// <summary>The folder of another build; default: this one.</summary>
    public string? Build { get; init; }
}

/// <summary>One real worker: the built executable as a process of its own, with its own folder, environment and clock.</summary>
internal sealed class WorkerProcess : IAsyncDisposable
{
    private const string Assembly = "scheduler.dll";
    private static readonly TimeSpan ReadyBound = TimeSpan.FromSeconds(60);

    // Most looks at a process that starts are refused connections, whose exceptions would take the processor from it.
    private static readonly TimeSpan ReadyLook = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan EndBound = TimeSpan.FromSeconds(60);
    private readonly HttpClient _http;
    private readonly Process _process;
    private readonly List<Fault> _faults = [];
    private readonly Task<TimeSpan> _ended;

    private WorkerProcess(WorkerSetup setup, Process process, Uri operations, Uri ingress)
    {
        (Setup, _process, Ingress) = (setup, process, ingress);
        _http = new HttpClient { BaseAddress = operations, Timeout = TimeSpan.FromSeconds(10) };
        // By a thread of its own that does nothing else: when somebody else asks for it, or the pool has time, is later than the end.
        var ended = new TaskCompletionSource<TimeSpan>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() => ended.SetResult(Signals.WaitForEnd(process))) { IsBackground = true, Name = $"end of {setup.Name}" }.Start();
        _ended = ended.Task;
    }

    public WorkerSetup Setup { get; }

    public string Name => Setup.Name;

    /// <summary>Where it takes webhooks, if it has sources of them.</summary>
    public Uri Ingress { get; }

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>What was done to it so far.</summary>
    public IReadOnlyList<Fault> Faults => _faults;

    /// <summary>Where its standard output and error go.</summary>
    public string OutputFile => OutputOf(Setup);

    /// <summary>What it has written so far.</summary>
    public string Output => File.Exists(OutputFile) ? ReadShared(OutputFile) : string.Empty;

    /// <summary>Starts a worker and returns at once.</summary>
    public static WorkerProcess Start(WorkerSetup setup)
    {
        Directory.CreateDirectory(setup.Folder);
        // Its own file, so that it does not read the one of the repository with the sample jobs.
        var configuration = Path.Combine(setup.Folder, "appsettings.json");
        if (!File.Exists(configuration))
        {
            File.WriteAllText(configuration, "{}");
        }
        var port = FreePort.Next();
        var urls = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}");
        // The shell only gives the process its output file, which is complete however the process ends, and becomes the process.
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = setup.Folder, UseShellExecute = false };
        foreach (var argument in (string[])["-c", "exec \"$@\" >>\"$0\" 2>&1 </dev/null", OutputOf(setup), DotNet(), WorkerAssembly(setup)])
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var variable in start.Environment.Keys.Where(k => k.StartsWith("Scheduler__", StringComparison.Ordinal)).ToList())
        {
            start.Environment.Remove(variable);
        }
        start.Environment["Scheduler__Replica__Name"] = setup.Name;
        start.Environment["Scheduler__Operations__Urls"] = urls;
        var ingress = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePort.Next()}");
        start.Environment["Scheduler__Ingress__Urls"] = ingress;
        foreach (var (name, value) in setup.Settings.Concat(FakeClock.Environment(setup.ClockOffset)))
        {
            start.Environment[name] = value;
        }
        // Small processes start faster, and several share the machine: what each would compile again, to be faster later, is not worth it.
        start.Environment["DOTNET_TieredPGO"] = "0";
        start.Environment["DOTNET_TC_CallCounting"] = "0";
        start.Environment["DOTNET_gcServer"] = "0";
        var worker = new WorkerProcess(setup, Process.Start(start)!, new Uri(urls), new Uri(ingress));
        AppDomain.CurrentDomain.ProcessExit += worker.KillAtExit;
        return worker;
    }

    /// <summary>Waits until the worker says that it is ready.</summary>
    public async Task UntilReadyAsync(TimeSpan? within = null)
    {
        try
        {
            await Eventually.Holds(IsReadyAsync, within ?? ReadyBound, $"{Name} is ready", ReadyLook);
        }
        catch (TimeoutException late)
        {
            throw new TimeoutException($"{late.Message}\n{Tail()}", late);
        }
    }

    /// <summary>Whether it answers that it is ready.</summary>
    public async Task<bool> IsReadyAsync()
    {
        if (_process.HasExited)
        {
            throw new InvalidOperationException($"{Name} ended with code {_process.ExitCode}.\n{Tail()}");
        }
        try
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2), TimeProvider.System);
            using var answer = await _http.GetAsync(new Uri("/health/ready", UriKind.Relative), limit.Token);
            return answer.IsSuccessStatusCode;
        }
        catch (Exception away) when (away is HttpRequestException or OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Gets a JSON document from the operations address; any refusal fails the test, with what was answered.</summary>
    public async Task<JsonElement> GetAsync(string path)
    {
        using var answer = await _http.GetAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken);
        var text = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        return answer.IsSuccessStatusCode
            ? JsonSerializer.Deserialize<JsonElement>(text)
            : throw new HttpRequestException($"{Name} answered {(int)answer.StatusCode} to {path}: {text}");
    }

    /// <summary>Posts a JSON document to the operations address.</summary>
    public async Task<(int Status, JsonElement Answer)> PostAsync(string path, object body)
    {
        using var answer = await _http.PostAsJsonAsync(new Uri(path, UriKind.Relative), body, TestContext.Current.CancellationToken);
        return ((int)answer.StatusCode, await answer.Content.ReadFromJsonAsync<JsonElement>(TestContext.Current.CancellationToken));
    }

    /// <summary>Gets an answer's text, whatever its status.</summary>
    public async Task<string> GetTextAsync(string path)
    {
        using var answer = await _http.GetAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken);
        return $"{(int)answer.StatusCode} {answer.Headers} {await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)}";
    }

    /// <summary>All rows of the ledger, page after page.</summary>
    public async Task<IReadOnlyList<RunRow>> RunsAsync(string? job = null)
    {
        var rows = new List<RunRow>();
        string? cursor = null;
        do
        {
            var query =
                "/api/runs?limit=1000"
                + (job is null ? "" : $"&job={job}")
                + (cursor is null ? "" : $"&cursor={Uri.EscapeDataString(cursor)}");
            var page = await GetAsync(query);
            rows.AddRange(page.GetProperty("items").EnumerateArray().Select(RunRow.Read));
            cursor = page.TryGetProperty("next", out var next) ? next.GetString() : null;
        } while (cursor is not null);
        return rows;
    }

    /// <summary>Ends the process at once, as a crash does.</summary>
    public void Kill9()
    {
        var sent = HostClock.Boot;
        Signals.Send(_process, Signals.Kill);
        _process.WaitForExit();
        // Until it is gone it may have acted.
        _faults.Add(new Fault(Name, FaultKind.Kill, HostClock.Boot) { SentAt = sent });
    }

    /// <summary>Lets the process stand still.</summary>
    public void Freeze()
    {
        Signals.Send(_process, Signals.Stop);
        _faults.Add(new Fault(Name, FaultKind.Freeze, HostClock.Boot));
    }

    /// <summary>Lets a frozen process go on.</summary>
    public void Thaw()
    {
        var freeze = _faults.FindLastIndex(f => f is { Kind: FaultKind.Freeze, Until: null });
        _faults[freeze] = _faults[freeze] with { Until = HostClock.Boot };
        Signals.Send(_process, Signals.Continue);
    }

    /// <summary>Asks the process to stop, as an operator or orchestrator does.</summary>
    public void Terminate()
    {
        _faults.Add(new Fault(Name, FaultKind.Stop, HostClock.Boot));
        Signals.Send(_process, Signals.Terminate);
    }

    /// <summary>Waits for the end of the process.</summary>
    public async Task<int> UntilEndedAsync(TimeSpan? within = null)
    {
        TimeSpan ended;
        try
        {
            ended = await _ended.WaitAsync(within ?? EndBound, TimeProvider.System);
        }
        catch (TimeoutException late)
        {
            throw new TimeoutException($"{Name} did not end within {(within ?? EndBound).TotalSeconds} s.\n{Tail()}", late);
        }
        var stop = _faults.FindLastIndex(f => f is { Kind: FaultKind.Stop, Until: null });
        if (stop >= 0)
        {
            _faults[stop] = _faults[stop] with { Until = ended };
        }
        return _process.ExitCode;
    }

    /// <summary>Asks the process to stop and waits for its end.</summary>
    public Task<int> StopAsync()
    {
        Terminate();
        return UntilEndedAsync();
    }

    /// <summary>The last lines of its output, for the message of a failed test.</summary>
    public string Tail() => $"--- {Name}, last lines:\n{string.Join('\n', Output.Split('\n').TakeLast(30))}";

    public async ValueTask DisposeAsync()
    {
        AppDomain.CurrentDomain.ProcessExit -= KillAtExit;
        if (!_process.HasExited)
        {
            Signals.Send(_process, Signals.Kill);
        }
        // Whoever waits for the end uses the process until it is told.
        await _ended.WaitAsync(EndBound, TimeProvider.System);
        _process.Dispose();
        _http.Dispose();
    }

    private void KillAtExit(object? sender, EventArgs e)
    {
        if (!_process.HasExited)
        {
            Signals.Send(_process, Signals.Kill);
        }
    }

    private static string OutputOf(WorkerSetup setup) => Path.Combine(setup.Folder, "output.log");

    private static string ReadShared(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static string DotNet() =>
        System.Environment.GetEnvironmentVariable("DOTNET_HOST_PATH")
        ?? (Path.GetFileNameWithoutExtension(System.Environment.ProcessPath) == "dotnet" ? System.Environment.ProcessPath! : "dotnet");

    private static string WorkerAssembly(WorkerSetup setup)
    {
        var path = Path.Combine(setup.Build ?? AppContext.BaseDirectory, Assembly);
        return File.Exists(path) && File.Exists(Path.ChangeExtension(path, ".runtimeconfig.json"))
            ? path
            : throw new InvalidOperationException($"'{path}' or its runtimeconfig.json is missing; build the solution first.");
    }
}
