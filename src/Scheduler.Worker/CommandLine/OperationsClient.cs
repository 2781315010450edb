using System.Net;
using System.Text.Json;
using Scheduler.Worker.Configuration;

namespace Scheduler.Worker.CommandLine;

/// <summary>Asks a replica's operations address. Thread-safe.</summary>
internal sealed class OperationsClient : IDisposable
{
    // Longer than the replica takes to say that it cannot.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly HttpClient _http;

    private OperationsClient(Uri address) => _http = new HttpClient { BaseAddress = address, Timeout = Limit };

    /// <summary>Finds the address.</summary>
    /// <param name="url">Where it is; <see langword="null"/>: the first of <c>Scheduler:Operations:Urls</c>.</param>
    /// <param name="overrides">Overrides of the configuration.</param>
    /// <exception cref="WrongUseException">The address is none.</exception>
    /// <exception cref="SettingsException">The configuration file cannot be read.</exception>
    public static OperationsClient At(string? url, string[] overrides)
    {
        if (url is null)
        {
            var configured = Settings.Load(Directory.GetCurrentDirectory(), overrides)["Scheduler:Operations:Urls"];
            return new OperationsClient(Configured(configured ?? new OperationsOptions().Urls));
        }
        return Uri.TryCreate(url, UriKind.Absolute, out var address) && address.Scheme is "http" or "https" && address.UserInfo.Length == 0
            ? new OperationsClient(address)
            : throw new WrongUseException("--url must be the operations address of a replica, such as http://127.0.0.1:9090");
    }

    /// <summary>Reads something.</summary>
    /// <exception cref="CommandFailedException">There is no answer, or a refusal.</exception>
    /// <exception cref="WrongUseException">A parameter is wrong.</exception>
    public Task<JsonElement> GetAsync(string path, params (string Name, string? Value)[] parameters) =>
        SendAsync(HttpMethod.Get, path, parameters);

    /// <summary>Changes something.</summary>
    /// <exception cref="CommandFailedException">There is no answer, or a refusal.</exception>
    /// <exception cref="WrongUseException">A parameter is wrong.</exception>
    public Task<JsonElement> PostAsync(string path, params (string Name, string? Value)[] parameters) =>
        SendAsync(HttpMethod.Post, path, parameters);

    public void Dispose() => _http.Dispose();

    private async Task<JsonElement> SendAsync(HttpMethod method, string path, (string Name, string? Value)[] parameters)
    {
        var query = string.Join('&', parameters.Where(p => p.Value is not null).Select(p => $"{p.Name}={Uri.EscapeDataString(p.Value!)}"));
        using var request = new HttpRequestMessage(method, new Uri(query.Length > 0 ? $"{path}?{query}" : path, UriKind.Relative));
        try
        {
            using var response = await _http.SendAsync(request);
            var text = await response.Content.ReadAsStringAsync();
            return response.IsSuccessStatusCode ? Parse(text) : throw Refused(response.StatusCode, text);
        }
        catch (Exception away) when (away is HttpRequestException or OperationCanceledException or JsonException)
        {
            throw new CommandFailedException(
                $"no replica answers at {_http.BaseAddress}: {away.Message} Is one running? Give its operations address with --url."
            );
        }
    }

    private static JsonElement Parse(string text)
    {
        using var document = JsonDocument.Parse(text);
        return document.RootElement.Clone();
    }

    private static Exception Refused(HttpStatusCode status, string text)
    {
        var problem = Parse(text);
        if (status == HttpStatusCode.BadRequest && problem.TryGetProperty("errors", out var errors))
        {
            return new WrongUseException(
                string.Join("; ", errors.EnumerateObject().Select(e => $"{e.Name} {string.Join(", ", e.Value.EnumerateArray())}"))
            );
        }
        return new CommandFailedException(
            problem.TryGetProperty("detail", out var detail) && detail.GetString() is { } reason ? reason : $"the answer is {(int)status}"
        );
    }

    private static Uri Configured(string urls)
    {
        var problem = Addresses.TryParse(urls, out var endpoints);
        if (problem is not null || endpoints[0].Port == 0)
        {
            throw new WrongUseException(
                $"Scheduler:Operations:Urls {problem ?? "lets the system choose the port"}; give the operations address with --url"
            );
        }
        var address = endpoints[0].Address.Equals(IPAddress.Any) ? IPAddress.Loopback : endpoints[0].Address;
        return new Uri($"http://{new IPEndPoint(address, endpoints[0].Port)}");
    }
}

/// <summary>A command could not be done; the message says why.</summary>
internal sealed class CommandFailedException(string message) : Exception(message);
