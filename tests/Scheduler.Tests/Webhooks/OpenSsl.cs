using System.Diagnostics;
using System.Text;

namespace Scheduler.Tests.Webhooks;

/// <summary>Signs with a program that has nothing in common with the product's code.</summary>
internal static class OpenSsl
{
    /// <summary>The HMAC of a text in hexadecimal digits.</summary>
    public static string Hmac(string hash, byte[] key, string text)
    {
        var start = new ProcessStartInfo("openssl")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        string[] arguments = ["dgst", $"-{hash}", "-mac", "HMAC", "-macopt", $"hexkey:{Convert.ToHexString(key)}"];
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        using var process = Process.Start(start)!;
        process.StandardInput.BaseStream.Write(Encoding.UTF8.GetBytes(text));
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(TimeSpan.FromSeconds(30)));
        Assert.Equal(0, process.ExitCode);
        // For example: SHA2-256(stdin)= 7571…
        return output.Trim().Split(' ')[^1];
    }

    public static string Hmac(string hash, string key, string text) => Hmac(hash, Encoding.UTF8.GetBytes(key), text);

    public static string Base64(string hex) => Convert.ToBase64String(Convert.FromHexString(hex));
}
