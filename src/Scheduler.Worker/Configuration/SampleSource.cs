using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Worker.Configuration;

/// <summary>A webhook source <c>payments</c> with a secret of this machine's own, for trying things out.</summary>
internal static class SampleSource
{
    /// <summary>Where the secret is, in the current directory and beside the sample's other files.</summary>
    public const string SecretFile = "data/dev-secret";

    private const string Sources = "Scheduler:Webhooks:Sources";
    private const int SecretBytes = 32;

    /// <summary>
    /// Adds the source where none is configured and records are kept, and makes its secret once. Replicas that start together have the
    /// same one.
    /// </summary>
    /// <param name="configuration">What the user configured.</param>
    /// <param name="folder">The current directory.</param>
    /// <exception cref="SettingsException">The secret's file cannot be made.</exception>
    public static IConfiguration AddTo(IConfiguration configuration, string folder)
    {
        if (configuration.GetSection(Sources).GetChildren().Any() || configuration["Scheduler:State:Backend"] == "none")
        {
            return configuration;
        }
        var secret = Path.Combine(folder, SecretFile);
        EnsureSecret(secret);
        return new ConfigurationBuilder()
            .AddConfiguration(configuration)
            .AddInMemoryCollection(
                new Dictionary<string, string?>(StringComparer.Ordinal)
                {
                    [$"{Sources}:payments:Scheme"] = "standard-webhooks",
                    [$"{Sources}:payments:SecretFiles:0"] = secret,
                }
            )
            .Build();
    }

    private static void EnsureSecret(string path)
    {
        if (File.Exists(path))
        {
            return;
        }
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            Make(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!File.Exists(path))
            {
                throw new SettingsException([
                    $"{path}, the secret of the sample's webhook source, cannot be made: {e.Message} Make its folder writable.",
                ]);
            }
        }
    }

    private static void Make(string path)
    {
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }
        using (var file = new FileStream(temporary, options))
        {
            file.Write(Encoding.ASCII.GetBytes($"whsec_{Convert.ToBase64String(RandomNumberGenerator.GetBytes(SecretBytes))}\n"));
        }
        try
        {
            // Whole, or not there; and never over the one of a replica that was quicker.
            File.Move(temporary, path, overwrite: false);
        }
        finally
        {
            File.Delete(temporary);
        }
    }
}
